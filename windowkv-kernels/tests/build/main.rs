//! What `build/` decides: what is compiled anew, which CUDA toolkit is taken, for which architectures. No
//! toolkit is needed: its programs are scripts here.

// Each is part of the build script, which uses all of it.
#[allow(dead_code)]
#[path = "../../build/architectures.rs"]
mod architectures;
#[allow(dead_code)]
#[path = "../../build/compile.rs"]
mod compile;
#[allow(dead_code)]
#[path = "../../build/parallel.rs"]
mod parallel;
#[allow(dead_code)]
#[path = "../../build/toolkit.rs"]
mod toolkit;

mod architecture_lists;
mod recompilation;
mod tasks;
mod toolkit_search;
