//! Days after which somebody has to do something: what, is said, and once it is done all goes on.
