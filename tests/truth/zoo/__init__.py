"""Model files of published torch model zoos, as far as Keras layers express them.

torchvision and timm keep no model file: their classes are code. These modules write the same
layers, in the order in which the code calls them, as a Functional model. Sizes of families are
facts of the papers and the zoos' own tables; the number of parameters tells whether they are right."""
