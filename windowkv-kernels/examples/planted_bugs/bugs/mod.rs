//! The planted bugs, one file a kernel: what each changes in which file.

pub(crate) mod decode;
pub(crate) mod gather;
pub(crate) mod layer;
pub(crate) mod mma_product;
pub(crate) mod prefill;
pub(crate) mod reduction;
pub(crate) mod score;
pub(crate) mod select;
pub(crate) mod wgmma_product;

/// A bug, as replacements of text that occurs exactly once.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) edits: &'static [Edit],
}

/// One replacement.
pub(crate) struct Edit {
    /// Below the kernel's folder, or with a slash in front below `cuda`: `kernel.cuh`, `/common/math.cuh`.
    pub(crate) file: &'static str,
    pub(crate) old: &'static str,
    pub(crate) new: &'static str,
}

/// `"name", "what it does", [("file", "text", "text in its place"), ...];` for each bug.
macro_rules! bugs {
    ($($name:literal, $what:literal, [$(($file:literal, $old:literal, $new:literal)),+];)*) => {
        &[$(Bug {
            name: $name,
            what: $what,
            edits: &[$($crate::bugs::Edit { file: $file, old: $old, new: $new }),+],
        },)*]
    };
}
use bugs;
