//! Services that own their sockets, and the recipes for them.

#[cfg(doctest)]
#[doc = include_str!("../../src/recipes/services.md")]
struct Recipes;
