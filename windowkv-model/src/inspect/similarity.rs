//! How much alike layers choose.

use super::observe::{Choice, Choices};
use super::report::{Budgets, Group, Similarity};

impl Similarity {
    /// Compares the choices of all pairs of layers.
    pub(super) fn new(budgets: Budgets, choices: &Choices, groups: &[Group]) -> Self {
        let layers = &choices.layers;
        let mut matrix = vec![vec![None; layers.len()]; layers.len()];
        for a in 0..layers.len() {
            for b in 0..=a {
                let value = jaccard(&layers[a], &layers[b]);
                matrix[a][b] = value;
                matrix[b][a] = value;
            }
        }
        let group_of = |layer: usize| groups.iter().rposition(|group| group.first_layer <= layer);
        let mean = |inside: bool| {
            let pairs = (0..layers.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
            let values: Vec<f64> = pairs
                .filter(|&(a, b)| (group_of(a) == group_of(b)) == inside)
                .filter_map(|(a, b)| matrix[a][b].map(f64::from))
                .collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        Self {
            budgets,
            mean_inside: mean(true),
            mean_across: mean(false),
            matrix,
        }
    }
}

/// Jaccard similarity of the chosen among the candidates, |both| / |either|, as the mean over cache heads; `None`
/// where a head of neither layer chose any.
fn jaccard(a: &Choice, b: &Choice) -> Option<f32> {
    let candidates = a.candidates.min(b.candidates);
    let values = a.kept.iter().zip(&b.kept).map(|(a, b)| {
        let (both, either) = a.overlap(b, candidates);
        (either > 0).then(|| both as f32 / either as f32)
    });
    let values: Option<Vec<f32>> = values.collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(values.iter().sum::<f32>() / values.len() as f32)
}

#[cfg(test)]
mod tests {
    use super::super::bits::Bits;
    use super::*;

    fn choices(layers: &[&[usize]]) -> Choices {
        let choice = |kept: &&[usize]| Choice {
            kept_tokens: 0,
            max_kept: 0,
            kept: vec![Bits::new(10, kept.iter().copied())],
            candidates: 8,
            scores: None,
        };
        Choices {
            layers: layers.iter().map(choice).collect(),
        }
    }

    fn groups(of: usize, count: usize) -> Vec<Group> {
        let group = |group| Group {
            first_layer: group * of,
            layers: of,
            kv_budget: 0,
        };
        (0..count).map(group).collect()
    }

    #[test]
    fn means_inside_and_across_groups() {
        // What is always kept (8 and 9) does not make layers more alike.
        let choices = choices(&[&[0, 1, 8, 9], &[1, 2, 8, 9], &[0, 1, 8, 9], &[4, 5, 8, 9]]);
        let similarity = Similarity::new(Budgets::Layer, &choices, &groups(2, 2));
        let third = 1.0 / 3.0;
        assert_eq!(
            similarity.matrix[0],
            [Some(1.0), Some(third), Some(1.0), Some(0.0)]
        );
        assert_eq!(similarity.mean_inside, Some(f64::from(third) / 2.0));
        let across = (1.0 + 0.0 + f64::from(third) + 0.0) / 4.0;
        assert!((similarity.mean_across.unwrap() - across).abs() < 1e-7);
    }

    #[test]
    fn layers_that_chose_nothing_have_no_similarity() {
        let similarity = Similarity::new(Budgets::Layer, &choices(&[&[9], &[8]]), &groups(1, 2));
        assert_eq!(similarity.matrix[0], [None, None]);
        assert_eq!(
            (similarity.mean_inside, similarity.mean_across),
            (None, None)
        );
    }
}
