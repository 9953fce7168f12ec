//! Means over the records of a needle evaluation.

use serde::Serialize;

use super::NeedleRecord;

/// Prompts of one length and depth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Length of the prompts, in tokens.
    pub length: usize,
    /// Depth of the needle, in percent.
    pub depth: f64,
    /// Prompts that were asked.
    pub prompts: usize,
    /// Mean Rouge-1 F1, from 0 to 1.
    pub rouge1: f64,
    /// Exact answers, as a share.
    pub exact: f64,
}

/// One method at one capacity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantSummary {
    /// The method's name.
    pub method: String,
    /// The capacity as it was given.
    pub capacity: String,
    /// Prompts that were asked.
    pub prompts: usize,
    /// Mean Rouge-1 F1, from 0 to 1.
    pub rouge1: f64,
    /// Exact answers, as a share.
    pub exact: f64,
    /// Mean share of the prompt that a layer keeps.
    pub kept_share: f64,
    /// Mean bytes of the compressed keys and values.
    pub kv_bytes: f64,
    /// Mean bytes of the whole prompts' keys and values.
    pub full_bytes: f64,
    /// By length, then depth.
    pub cells: Vec<Cell>,
}

/// All of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Lengths of the prompts, ascending.
    pub lengths: Vec<usize>,
    /// Depths, ascending, in percent.
    pub depths: Vec<f64>,
    /// In the order in which the run names them.
    pub variants: Vec<VariantSummary>,
}

impl Summary {
    /// Means of `records`.
    pub fn new<'a>(records: impl Iterator<Item = &'a NeedleRecord> + Clone) -> Self {
        let mut lengths: Vec<usize> = records.clone().map(|r| r.asked.length).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut depths: Vec<f64> = records.clone().map(|r| r.asked.depth).collect();
        depths.sort_unstable_by(f64::total_cmp);
        depths.dedup();
        let mut groups: Vec<((&str, &str), Vec<&NeedleRecord>)> = Vec::new();
        for record in records {
            let name = (record.asked.method.as_str(), record.asked.capacity.as_str());
            match groups.iter_mut().find(|(group, _)| *group == name) {
                Some((_, members)) => members.push(record),
                None => groups.push((name, vec![record])),
            }
        }
        let variants = groups
            .into_iter()
            .map(|((method, capacity), records)| {
                variant(method, capacity, &records, &lengths, &depths)
            })
            .collect();
        Self {
            lengths,
            depths,
            variants,
        }
    }
}

fn variant(
    method: &str,
    capacity: &str,
    records: &[&NeedleRecord],
    lengths: &[usize],
    depths: &[f64],
) -> VariantSummary {
    let cells = lengths.iter().flat_map(|&length| {
        depths.iter().filter_map(move |&depth| {
            let here = |record: &&&NeedleRecord| {
                record.asked.length == length && record.asked.depth == depth
            };
            let records: Vec<_> = records.iter().filter(here).copied().collect();
            (!records.is_empty()).then(|| Cell {
                length,
                depth,
                prompts: records.len(),
                rouge1: mean(&records, |r| r.rouge1),
                exact: mean(&records, |r| f64::from(r.exact)),
            })
        })
    });
    VariantSummary {
        method: method.to_owned(),
        capacity: capacity.to_owned(),
        prompts: records.len(),
        rouge1: mean(records, |r| r.rouge1),
        exact: mean(records, |r| f64::from(r.exact)),
        kept_share: mean(records, |r| r.kept_share),
        kv_bytes: mean(records, |r| r.kv_bytes as f64),
        full_bytes: mean(records, |r| r.full_bytes as f64),
        cells: cells.collect(),
    }
}

fn mean(records: &[&NeedleRecord], value: impl Fn(&NeedleRecord) -> f64) -> f64 {
    records.iter().map(|record| value(record)).sum::<f64>() / records.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::needle::NeedleCase;

    fn record(method: &str, length: usize, depth: f64, rouge1: f64) -> NeedleRecord {
        NeedleRecord {
            asked: NeedleCase {
                length,
                depth,
                prompt: 0,
                method: method.to_owned(),
                capacity: "12%".to_owned(),
                variant: 0,
            },
            prompt_tokens: length,
            task: None,
            task_score: None,
            task_uncertain: false,
            needle_start: 0,
            reference: String::new(),
            answer: String::new(),
            rouge1,
            exact: rouge1 == 1.0,
            kept_share: 0.5,
            kv_bytes: 1024,
            full_bytes: 2048,
        }
    }

    #[test]
    fn means_are_by_variant_and_by_cell() {
        let records = [
            record("A", 512, 0.0, 1.0),
            record("B", 512, 0.0, 0.25),
            record("A", 256, 0.0, 0.5),
            record("A", 512, 0.0, 0.0),
            record("A", 512, 50.0, 1.0),
        ];
        let summary = Summary::new(records.iter());
        assert_eq!(
            (summary.lengths, summary.depths),
            (vec![256, 512], vec![0.0, 50.0])
        );
        let [a, b] = summary.variants.as_slice() else {
            panic!("two variants")
        };
        assert_eq!((a.prompts, a.rouge1, a.exact), (4, 0.625, 0.5));
        assert_eq!((b.prompts, b.rouge1, b.exact), (1, 0.25, 0.0));
        let cells: Vec<_> = a
            .cells
            .iter()
            .map(|c| (c.length, c.depth, c.prompts, c.rouge1))
            .collect();
        assert_eq!(
            cells,
            [(256, 0.0, 1, 0.5), (512, 0.0, 2, 0.5), (512, 50.0, 1, 1.0)]
        );
    }
}
