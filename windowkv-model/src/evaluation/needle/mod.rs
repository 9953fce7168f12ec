//! Needle in a haystack: a fact is hidden at some depth of a long text and asked for.
//!
//! ```text
//! haystack   the text: a folder of files, or generated sentences
//! prompt     text, needle and question to the token ids of one prompt of an exact length
//! grid       lengths x depths x prompts x variants (a method at a capacity): the cases
//! record     answers of the methods on one prompt, read once for all, and their scores
//! summary    means by variant and by cell, as tables
//! ```

mod grid;
mod haystack;
mod prompt;
mod record;
mod summary;

use std::path::PathBuf;

pub use grid::{Grid, NeedleCase};
pub use haystack::Haystack;
pub use prompt::{NeedlePrompt, Prompts, TextNeedle, TextPrompts};
pub use record::{NeedleRecord, answer};
pub use summary::{Cell, Summary, VariantSummary};

/// Settings that no needle can be hidden with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NeedleError {
    /// The folder of the haystack has no text.
    #[error("{} has no text: {files} of its files are *.txt, all of them empty; give a folder with text files", dir.display())]
    NoText {
        /// The folder.
        dir: PathBuf,
        /// Its `*.txt` files.
        files: usize,
    },
    /// The prompt's length leaves no place for the needle.
    #[error(
        "a prompt of {length} tokens cannot hold the needle ({needle} tokens) beside the template and the question \
         ({frame} tokens): it takes {} at least; give larger lengths or a shorter needle", needle + frame
    )]
    PromptTooShort {
        /// The length that was asked for, in tokens.
        length: usize,
        /// Tokens of the needle.
        needle: usize,
        /// Tokens of all but needle and haystack.
        frame: usize,
    },
    /// The needle or the expected answer has no word.
    #[error(
        "the {what} {text:?} has no word that could be found; give a text with letters or digits"
    )]
    NoWords {
        /// Which text.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// The template has no place for the text or the question.
    #[error(
        "the template {template:?} must have {{context}} once, with the haystack, and {{question}} after it"
    )]
    Template {
        /// The template.
        template: String,
    },
    /// A run of more cases than are planned at once.
    #[error(
        "{lengths} lengths x {depths} depths x {prompts} prompts x {variants} methods at a capacity are over \
         {limit} cases; give fewer, or make several runs"
    )]
    TooManyCases {
        /// Lengths.
        lengths: usize,
        /// Depths.
        depths: usize,
        /// Prompts of each length and depth.
        prompts: usize,
        /// Methods at a capacity.
        variants: usize,
        /// Cases that a run may have.
        limit: usize,
    },
    /// A depth that is not within the haystack.
    #[error("depth {depth} %: it must be from 0, the beginning of the haystack, to 100, its end")]
    Depth {
        /// The depth in percent.
        depth: f64,
    },
}
