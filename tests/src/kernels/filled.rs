//! Tensors in poisoned memory.

use ndarray::Array3;

use super::{Half, Lay};

/// Numbers of a tensor, in half precision, in memory that is NaN everywhere else.
#[derive(Debug, Clone)]
pub struct Filled<T> {
    /// Where they lie.
    pub lay: Lay,
    /// All of the memory.
    pub memory: Vec<T>,
}

impl<T: Half> Filled<T> {
    /// Nothing but NaN.
    pub fn poisoned(lay: Lay) -> Self {
        Self {
            lay,
            memory: vec![T::from_bits(0xffff); lay.len],
        }
    }

    /// Rounds `numbers [tokens, heads, head_dim]` to `T` and puts them from `token` of `batch` on. Gives back the
    /// rounded ones.
    pub fn put(&mut self, batch: usize, token: usize, numbers: &Array3<f64>) -> Array3<f64> {
        let mut rounded = numbers.clone();
        for ((i, head, d), number) in rounded.indexed_iter_mut() {
            let value = T::of(*number);
            self.memory[self.lay.at(batch, token + i, head) + d] = value;
            *number = value.value();
        }
        rounded
    }
}

/// Elements of a memory that hold none of the tensor's `valid` places must still be NaN as they were.
///
/// # Errors
/// Names the first that is not.
pub fn check_poison<T: Half>(memory: &[T], written: &[bool]) -> Result<(), String> {
    let touched = |(i, element): (usize, &T)| !written[i] && element.bits() != 0xffff;
    match memory.iter().enumerate().find(|&place| touched(place)) {
        None => Ok(()),
        Some((i, element)) => Err(format!(
            "element {i} is outside the output and was written: {element:?}"
        )),
    }
}
