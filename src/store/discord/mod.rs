//! Discord as a store.
