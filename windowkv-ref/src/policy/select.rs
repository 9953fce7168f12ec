use std::cmp::Ordering;

use crate::Real;

/// What a layer of WindowKV kept, beside the suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowChoice {
    /// Tokens of a window.
    pub window_len: usize,
    /// Indices of the kept windows, ascending.
    pub windows: Vec<usize>,
    /// The layer whose scores chose them; `None` when nothing had to be chosen.
    pub leader: Option<usize>,
}

/// Indices of the `count` largest values, ascending. Ties go to the lower index; -0 equals 0.
///
/// # Errors
/// The index of the first NaN.
pub fn top_indices<F: Real>(values: &[F], count: usize) -> Result<Vec<usize>, usize> {
    if let Some(index) = values.iter().position(|value| value.is_nan()) {
        return Err(index);
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    let better = |&a: &usize, &b: &usize| {
        let by_value = values[b].partial_cmp(&values[a]).unwrap_or(Ordering::Equal);
        by_value.then(a.cmp(&b))
    };
    if count < order.len() {
        if count > 0 {
            order.select_nth_unstable_by(count - 1, better);
        }
        order.truncate(count);
    }
    order.sort_unstable();
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_index() {
        assert_eq!(top_indices(&[1.0, 2.0, 2.0, 2.0, 0.0], 2).unwrap(), [1, 2]);
        assert_eq!(top_indices(&[0.0, -0.0, 0.0], 1).unwrap(), [0]);
    }

    #[test]
    fn infinities_are_ordinary_values_and_nan_is_an_error() {
        assert_eq!(
            top_indices(&[f32::NEG_INFINITY, 1.0, f32::INFINITY], 2).unwrap(),
            [1, 2]
        );
        assert_eq!(top_indices(&[1.0, f32::NAN, f32::NAN], 1), Err(1));
    }

    #[test]
    fn none_and_more_than_all() {
        assert_eq!(top_indices::<f64>(&[], 3).unwrap(), [0usize; 0]);
        assert_eq!(top_indices(&[3.0, 1.0], 0).unwrap(), [0usize; 0]);
        assert_eq!(top_indices(&[3.0, 1.0], 9).unwrap(), [0, 1]);
    }
}
