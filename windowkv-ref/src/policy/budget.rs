use serde::{Deserialize, Serialize};

use crate::Error;

/// How the mean budget is spread over the groups of layers (spec section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetRule {
    /// As the released code does it: integer divisions, the last group gets `capacity * shared_layers / beta`.
    #[default]
    Released,
    /// As the paper writes it (equations 5 to 7): from `2C - C/beta` down to `C/beta`, whatever the group size.
    Paper,
    /// Every group the mean.
    Uniform,
}

impl std::str::FromStr for BudgetRule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "released" => Ok(Self::Released),
            "paper" => Ok(Self::Paper),
            "uniform" => Ok(Self::Uniform),
            _ => Err(Error::UnknownName {
                what: "budget rule",
                found: name.to_owned(),
                choices: "released, paper, uniform",
            }),
        }
    }
}

/// Review tokens that each layer may keep; the suffix comes on top.
///
/// `capacity` is the mean budget of a layer, `beta` (the paper's lambda) the steepness of the pyramid.
/// Every layer of a group of `shared_layers` has the group's budget, so the result has `num_layers`
/// entries. One group alone gets `capacity`.
///
/// ```
/// use windowkv_ref::policy::{BudgetRule, layer_budgets};
/// let budgets = layer_budgets(BudgetRule::Released, 32, 8, 2048, 14).unwrap();
/// assert_eq!([budgets[0], budgets[8], budgets[16], budgets[24]], [2926, 2341, 1756, 1170]);
/// ```
///
/// # Errors
/// [`Error::Zero`], [`Error::LayersNotDivisible`], and [`Error::NegativeBudget`] for the released rule
/// with `shared_layers > 2 * beta`.
pub fn layer_budgets(
    rule: BudgetRule,
    num_layers: usize,
    shared_layers: usize,
    capacity: usize,
    beta: usize,
) -> Result<Vec<usize>, Error> {
    Error::nonzero("num_layers", num_layers)?;
    Error::nonzero("shared_layers", shared_layers)?;
    Error::nonzero("max_capacity_prompt", capacity)?;
    Error::nonzero("beta", beta)?;
    if !num_layers.is_multiple_of(shared_layers) {
        return Err(Error::LayersNotDivisible {
            num_layers,
            shared_layers,
        });
    }
    let num_groups = num_layers / shared_layers;
    let groups = match rule {
        _ if num_groups == 1 => vec![capacity],
        BudgetRule::Released => released(num_groups, shared_layers, capacity, beta)?,
        BudgetRule::Paper => paper(num_groups, capacity, beta),
        BudgetRule::Uniform => vec![capacity; num_groups],
    };
    Ok((0..num_layers)
        .map(|layer| groups[layer / shared_layers])
        .collect())
}

fn released(
    num_groups: usize,
    shared_layers: usize,
    capacity: usize,
    beta: usize,
) -> Result<Vec<usize>, Error> {
    // 128 bits: the products of two lengths cannot overflow, and differences may be negative.
    let (capacity_wide, groups_wide) = (capacity as i128, num_groups as i128);
    let last = capacity_wide * shared_layers as i128 / beta as i128;
    let first = 2 * capacity_wide - last;
    if first < 0 {
        let last = usize::try_from(last).unwrap_or(usize::MAX);
        return Err(Error::NegativeBudget {
            shared_layers,
            beta,
            capacity,
            last,
        });
    }
    // Euclidean division by a positive number is Python's floor division, also for an upside-down pyramid.
    let step = (first - last).div_euclid(groups_wide - 1);
    let budget = |group: i128| {
        if group == groups_wide - 1 {
            last
        } else {
            first - group * step
        }
    };
    Ok((0..groups_wide)
        // Never negative here: what does not fit is a capacity beyond any prompt.
        .map(|group| usize::try_from(budget(group)).unwrap_or(usize::MAX))
        .collect())
}

fn paper(num_groups: usize, capacity: usize, beta: usize) -> Vec<usize> {
    let capacity = capacity as f64;
    let last = capacity / beta as f64;
    let first = 2.0 * capacity - last;
    let step = (first - last) / (num_groups - 1) as f64;
    (0..num_groups)
        .map(|group| (first - group as f64 * step).round().max(0.0) as usize)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_3_8b_at_2048_as_in_the_specification() {
        let groups = |rule| {
            let layers = layer_budgets(rule, 32, 8, 2048, 14).unwrap();
            layers.into_iter().step_by(8).collect::<Vec<_>>()
        };
        assert_eq!(groups(BudgetRule::Released), [2926, 2341, 1756, 1170]);
        assert_eq!(groups(BudgetRule::Paper), [3950, 2682, 1414, 146]);
        assert_eq!(groups(BudgetRule::Uniform), [2048; 4]);
    }

    #[test]
    fn one_group_gets_the_mean() {
        for rule in [BudgetRule::Released, BudgetRule::Paper, BudgetRule::Uniform] {
            assert_eq!(layer_budgets(rule, 4, 4, 100, 14).unwrap(), [100; 4]);
        }
    }

    #[test]
    fn groups_larger_than_beta_turn_the_pyramid_over() {
        let budgets = layer_budgets(BudgetRule::Released, 32, 16, 100, 14).unwrap();
        assert_eq!((budgets[0], budgets[31]), (86, 114));
    }

    #[test]
    fn bad_settings_are_named() {
        let error = |layers, shared, capacity, beta| {
            layer_budgets(BudgetRule::Released, layers, shared, capacity, beta)
                .unwrap_err()
                .to_string()
        };
        assert!(error(10, 4, 100, 14).contains("10 layers cannot be divided into groups of 4"));
        assert!(error(8, 0, 100, 14).contains("shared_layers is 0"));
        assert!(error(8, 2, 0, 14).contains("max_capacity_prompt is 0"));
        assert!(error(8, 2, 100, 0).contains("beta is 0"));
        assert!(error(64, 32, 100, 14).contains("shared_layers 32 is more than twice beta 14"));
    }
}
