//! The same with a real container: an image made of the worker and the libraries that it maps.
