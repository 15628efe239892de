/* SPDX-License-Identifier: MIT
 *
 * The table of operations (keras.ops.*): what a Functional model made with `x + y` or keras.ops has
 * between its layers. Sorted by class. An operation that is not here has the shape that the file
 * says, as an unknown layer has. */
#include "planner/model/rows.h"
#include "planner/model/schema.h"
#include <math.h>

/* clang-format off */
SCHEMA(cfg_axis, MAY(INTS, axis, "axis", NAN));
SCHEMA(cfg_axes, MAY(INTS, axis, "axes", NAN));
SCHEMA(cfg_cast, NEED(TEXT, text, "dtype"));
SCHEMA(cfg_blocks, NEED(INT, count, "block_size"), MAY(FORMAT, channels_first, "data_format", 0));
SCHEMA(cfg_getitem, MAY(JSON, key, "key", 0));
SCHEMA(cfg_matmul, MAY(BOOL, transpose_a, "transpose_a", 0), MAY(BOOL, transpose_b, "transpose_b", 0));
SCHEMA(cfg_newshape, NEED(INTS, dims, "newshape"));
SCHEMA(cfg_one_hot, NEED(INT, width, "num_classes"), MAY(INTS, axis, "axis", -1));
SCHEMA(cfg_pad_width, NEED(PAIRS, dims, "pad_width"));
SCHEMA(cfg_reduce, MAY(INTS, axis, "axis", NAN), MAY(BOOL, keepdims, "keepdims", 0));
SCHEMA(cfg_split, NEED(INTS, dims, "indices_or_sections"), MAY(INTS, axis, "axis", NAN));
SCHEMA(cfg_subscripts, NEED(TEXT, text, "subscripts"));
SCHEMA(cfg_tile, NEED(INTS, dims, "repeats"));

#define UNARY(class_name)          {class_name, 0, OP(MATH), 1, ANY, NULL, kp_shape_math_binary, NULL, kp_lower_same}
#define BINARY(class_name, op)     {class_name, 0, OP(op), 1, 2, NULL, kp_shape_math_binary, NULL, kp_lower_merge}
#define COMPARE(class_name)        {class_name, 0, 0, 1, 2, NULL, kp_shape_math_binary, NULL, kp_lower_compare}
#define FUNCTION(class_name, act)  {class_name, 0, ACT(act), 1, 1, &cfg_axis, kp_shape_same, NULL, kp_lower_activation}
#define REDUCE(class_name)         {class_name, 0, 0, 1, 1, &cfg_reduce, kp_shape_reduce, NULL, kp_lower_reduce}
#define INDEX(class_name)          {class_name, 0, 1, 1, 1, &cfg_reduce, kp_shape_reduce, NULL, kp_lower_reduce}

const kp_layer_row kp_math_rows[] = {
    UNARY("Abs"),
    UNARY("Absolute"),
    BINARY("Add", ADD),
    REDUCE("All"),
    REDUCE("Amax"),
    REDUCE("Amin"),
    REDUCE("Any"),
    UNARY("Arccos"),
    UNARY("Arcsin"),
    UNARY("Arctan"),
    BINARY("Arctan2", MATH),
    INDEX("Argmax"),
    INDEX("Argmin"),
    {"Cast", 0, 0, 1, 1, &cfg_cast, kp_shape_same, NULL, kp_lower_cast},
    UNARY("Ceil"),
    FUNCTION("Celu", CELU),
    UNARY("Clip"),
    {"Concatenate", 0, 0, 1, ANY, &cfg_axis, kp_shape_concat, NULL, kp_lower_concat},
    UNARY("Cos"),
    UNARY("Cosh"),
    {"DepthToSpace", 2, 0, 1, 1, &cfg_blocks, kp_shape_blocks, NULL, kp_lower_blocks},
    BINARY("Divide", MUL),
    {"Einsum", 0, 0, 2, 2, &cfg_subscripts, kp_shape_einsum_op, NULL, kp_lower_einsum_op},
    FUNCTION("Elu", ELU),
    COMPARE("Equal"),
    UNARY("Erf"),
    UNARY("Exp"),
    {"ExpandDims", 0, 0, 1, 1, &cfg_axis, kp_shape_expand, NULL, kp_lower_view},
    UNARY("Expm1"),
    UNARY("Flip"),
    UNARY("Floor"),
    BINARY("FloorDivide", MATH),
    FUNCTION("Gelu", GELU),
    {"GetItem", 0, OP(PAD), 1, 1, &cfg_getitem, kp_shape_getitem, NULL, kp_lower_same},
    COMPARE("Greater"),
    COMPARE("GreaterEqual"),
    FUNCTION("HardSigmoid", HARD_SIGMOID),
    FUNCTION("HardSilu", HARD_SILU),
    COMPARE("Isnan"),
    FUNCTION("LeakyRelu", LEAKY_RELU),
    COMPARE("Less"),
    COMPARE("LessEqual"),
    UNARY("Log"),
    UNARY("Log10"),
    UNARY("Log1p"),
    UNARY("Log2"),
    FUNCTION("LogSigmoid", LOG_SIGMOID),
    FUNCTION("LogSoftmax", LOG_SOFTMAX),
    COMPARE("LogicalAnd"),
    COMPARE("LogicalNot"),
    COMPARE("LogicalOr"),
    {"Matmul", 0, 0, 2, 2, &cfg_matmul, kp_shape_matmul, NULL, kp_lower_matmul},
    REDUCE("Max"),
    BINARY("Maximum", MAXMIN),
    REDUCE("Mean"),
    REDUCE("Min"),
    BINARY("Minimum", MAXMIN),
    BINARY("Mod", MATH),
    BINARY("Multiply", MUL),
    UNARY("Negative"),
    UNARY("Normalize"),
    COMPARE("NotEqual"),
    {"OneHot", 0, OP(UPSAMPLE), 1, 1, &cfg_one_hot, kp_shape_one_hot, NULL, kp_lower_one_hot},
    {"Pad", 0, OP(PAD), 1, 1, &cfg_pad_width, kp_shape_pad_width, NULL, kp_lower_same},
    BINARY("Power", MATH),
    REDUCE("Prod"),
    UNARY("Reciprocal"),
    FUNCTION("Relu", RELU),
    FUNCTION("Relu6", RELU6),
    {"Reshape", 0, 0, 1, 1, &cfg_newshape, kp_shape_newshape, NULL, kp_lower_view},
    UNARY("Roll"),
    UNARY("Round"),
    UNARY("Rsqrt"),
    FUNCTION("Selu", SELU),
    FUNCTION("Sigmoid", SIGMOID),
    UNARY("Sign"),
    FUNCTION("Silu", SILU),
    UNARY("Sin"),
    UNARY("Sinh"),
    FUNCTION("Softmax", SOFTMAX),
    FUNCTION("Softplus", SOFTPLUS),
    FUNCTION("Softsign", SOFTSIGN),
    {"SpaceToDepth", 2, 1, 1, 1, &cfg_blocks, kp_shape_blocks, NULL, kp_lower_blocks},
    {"Split", 0, 0, 1, 1, &cfg_split, kp_shape_split, NULL, kp_lower_split},
    UNARY("Sqrt"),
    UNARY("Square"),
    {"Squeeze", 0, 0, 1, 1, &cfg_axis, kp_shape_squeeze, NULL, kp_lower_view},
    {"Stack", 0, OP(CONCAT), 1, ANY, &cfg_axis, kp_shape_stack, NULL, kp_lower_same},
    REDUCE("Std"),
    {"StopGradient", 0, 0, 1, 1, NULL, kp_shape_same, NULL, kp_lower_view},
    BINARY("Subtract", ADD),
    REDUCE("Sum"),
    UNARY("Tan"),
    FUNCTION("Tanh", TANH),
    {"Tile", 0, OP(UPSAMPLE), 1, 1, &cfg_tile, kp_shape_tile, NULL, kp_lower_same},
    {"Transpose", 0, OP(TRANSPOSE), 1, 1, &cfg_axes, kp_shape_transpose, NULL, kp_lower_same},
    BINARY("TrueDivide", MUL),
    REDUCE("Var"),
    UNARY("Where"),
};
const size_t kp_math_n_rows = KP_LEN(kp_math_rows);
/* clang-format on */
