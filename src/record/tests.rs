//! Vectors, schemas and frozen examples.
