"""The names of the theorems, so that a property can cite one without importing what proves it.

An ID never changes its meaning: a statement may be sharpened in wording, a new claim gets a new ID. The
proofs are in `convverify.derivation`, the pages under `proofs/`; a test holds the two tables together.

Letters, for one axis: H input, K kernel, S stride, D dilation, P and Q padding before and after, O output,
r remainder, where H + P + Q - D(K-1) - 1 = S(O-1) + r and 0 <= r < S. "Meet" is the relation
u = S*o + D*a - P between an input index u, a kernel index a and an output index o, all three in range.
"""

from __future__ import annotations

THEOREM_IDS: dict[str, str] = {
    "FW-1": "Every read of the forward pass is inside the padded input, and O is the largest output size "
    "for which that is so.",
    "FW-ALL": "For all sizes, the forward formula equals the definition.",
    "GI-1": "Input index u and output index o meet through kernel index a under the grad_input formula "
    "exactly when they do under the definition, and each such meeting is counted once.",
    "GI-2": "The grad_input formula has the size of the input.",
    "GI-3": "Through one kernel index, an input index meets at most one output index.",
    "GI-4": "Every read of the grad_input formula is inside its padded, zero-inserted grad_output.",
    "GI-5": "Inserting zeros writes inside its array, and no two elements to the same place.",
    "GI-6": "The gather form: u meets an output through a exactly when S divides u + P - D*a and the "
    "quotient is in range.",
    "GI-ALL": "For all sizes, the grad_input formula is the derivative of the convolution by its input.",
    "GW-1": "Correlating the whole padded input with grad_output gives K + floor(r/D) elements; without "
    "the remainder, K.",
    "GW-2": "Every read of the grad_weight formula is inside its padded input.",
    "GW-3": "Input index u and output index o meet through kernel index a under the grad_weight formula "
    "exactly when they do under the definition, and each such meeting is counted once.",
    "GW-ALL": "For all sizes, the grad_weight formula is the derivative of the convolution by its weight.",
    "GB-1": "The derivative by the bias is grad_output summed over batch and positions.",
    "DB-1": "Double backward: the derivative of <u, grad_input> + <v, grad_weight> by grad_output is "
    "conv(u, k) + conv(x, v).",
    "DB-2": "Double backward: the derivative of <u, grad_input> by the weight is grad_weight(u, g).",
    "DB-3": "Double backward: the derivative of <v, grad_weight> by the input is grad_input(g, v).",
    "AD-1": "Row-major addresses are in range, no two indices share one, and every address is reached: "
    "each element is written exactly once.",
    "AD-2": "Splitting an axis in two, or merging two into one, moves no element.",
    "GR-1": "Groups: output channel co reads, through weight channel i, the input channel floor(co/J)*I + "
    "i, which is inside its own group (I, J: input and output channels a group).",
    "GR-2": "Groups: an input and an output channel of one group meet through exactly one weight channel; "
    "of different groups, through none.",
    "GR-3": "Groups: the channel sums of the closed forms pair the channels that the definition pairs.",
    "TC-1": "The size of a transposed convolution inverts that of the convolution exactly when "
    "output_padding < stride.",
    "SP-1": "Padding 'same' (stride 1) keeps the size, and its two sides differ by at most one.",
    "FF-1": "A circular correlation agrees with the linear one on all outputs when its period is at least "
    "the padded input.",
    "WG-1": "Winograd's F(2,3) equals the correlation, over the rationals.",
    "WG-2": "Winograd's F(4,3) equals the correlation, over the rationals.",
    "FIN-1": "On each listed geometry, formulas and definition have the same polynomials: output and "
    "first derivatives.",
    "FIN-2": "On each listed geometry, the derivatives of the gradients equal the double-backward formulas.",
    "PRG-1": "The program that is shipped is bilinear in input and weight: each operation of its traced "
    "graph adds or keeps degrees, and its output has degree (1, 1).",
    "PRG-2": "The program that is shipped, run on polynomials operation by operation, gives the "
    "definition and its derivatives.",
    "CG-1": "On the computational graph of c = (3x^2)y, products of local derivatives along the links are "
    "the derivatives, for c and for every intermediate value.",
    "EX-1": "If the absolute products sum to at most 2^p, p bits of precision make every partial sum, in "
    "any order, exact.",
    "SZ-1": "Random values from a set of size s miss a wrong bilinear map with probability at most 1 - (1 "
    "- 1/s)^2 <= 2/s.",
    "RB-1": "A sum of n products in any order, with unit roundoff u and n*u < 1, is off by at most n*u/(1 "
    "- n*u) times the sum of the absolute products.",
    "BL-1": "For a bilinear map the forward and the central difference with step 1 in one argument are "
    "the derivative, with no truncation error.",
    "BC-1": "A bilinear map is determined by its values on pairs of unit tensors.",
    "SEED-1": "The article's own operator equals the definition and its derivatives for all batches, "
    "channels, sizes and kernels, where H = W and KH = KW.",
    "SEED-2": "With H != W the article's operator can be silently wrong: some such sizes pass every "
    "reshape and give an output of another shape.",
}
