//! The WindowKV method in plain ndarray.
