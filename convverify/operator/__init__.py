"""The shipped operator: autograd Functions whose forward and backward are the formulas."""

from convverify.operator import library
from convverify.operator.functional import conv1d, conv2d, conv3d, conv_transpose2d
from convverify.operator.memory import memory_budget
from convverify.operator.modules import Conv1d, Conv2d, Conv3d

__all__ = ["Conv1d", "Conv2d", "Conv3d", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "memory_budget"]

library.register()
