//! Training of the small models that the demo and the tests run on.
