"""An operator as a tutorial would write it, to be verified.

It is right where it claims to be, on square images and kernels:

    convverify verify examples/article_conv.py:ArticleConv2d \\
      --domain 'square, stride=1, padding=0, dilation=1, groups=1'

Without that claim the verification finds images that it answers wrongly and silently: 5x2 with a 2x2 kernel gives an
output of 4x4 where 4x1 is right.
`convverify lenet` trains with it beside `nn.Conv2d`, as the variant `article`.
"""

from convverify.experiments.article import ArticleConv2d

__all__ = ["ArticleConv2d"]
