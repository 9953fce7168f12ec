//! Scores as the paper shows them: methods down, datasets across, the average last, the best of each capacity in bold.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use windowkv_ref::methods::MethodKind;

use super::{Bucket, Category, Dataset, Mean, Published, Scores};

/// The scores of one class of length, or of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    class: Option<Bucket>,
    datasets: Vec<Dataset>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    method: String,
    capacity: Option<String>,
    /// Whether the paper says so, instead of a run.
    published: bool,
    /// One for each dataset.
    means: Vec<Option<Mean>>,
    /// Of the datasets, in percent; absent where one is.
    average: Option<f64>,
}

impl Row {
    /// Scores and average in percent, as they are shown.
    fn cells(&self) -> Vec<Option<String>> {
        let scores = self.means.iter().map(|mean| mean.map(Mean::percent));
        scores
            .chain([self.average])
            .map(|cell| cell.map(|percent| format!("{percent:.2}")))
            .collect()
    }

    fn is_full(&self) -> bool {
        self.method == MethodKind::FullKv.title()
    }

    /// What a layer may keep, where it is known.
    fn capacity(&self) -> Option<&str> {
        self.capacity
            .as_deref()
            .or(self.is_full().then_some("full"))
    }

    /// Whether it takes part in the comparison of what compresses.
    fn competes(&self) -> bool {
        !self.published && !self.is_full()
    }
}

impl Table {
    /// The table of all lengths and, for LongBench-E (`extended`), those of each class that has a score. Where the
    /// paper has a figure for a row it follows, in the first table.
    pub fn of(scores: &Scores, extended: bool, published: Option<&Published>) -> Vec<Self> {
        let classes = Bucket::ALL.map(Some);
        let classes = if extended { &classes[..] } else { &[] };
        let mut tables = vec![Self::new(scores, None, published)];
        tables.extend(classes.iter().map(|&class| Self::new(scores, class, None)));
        tables.retain(|table| !table.datasets.is_empty());
        tables
    }

    fn new(scores: &Scores, class: Option<Bucket>, published: Option<&Published>) -> Self {
        let datasets = scores.datasets(class);
        let mut rows = Vec::new();
        for (index, (method, capacity)) in scores.rows().iter().enumerate() {
            let mean = |&dataset: &Dataset| scores.mean(index, class, dataset);
            let means: Vec<Option<Mean>> = datasets.iter().map(mean).collect();
            if means.iter().all(Option::is_none) {
                continue;
            }
            let percents: Option<Vec<f64>> =
                means.iter().map(|mean| mean.map(Mean::percent)).collect();
            rows.push(Row {
                method: method.clone(),
                capacity: capacity.clone(),
                published: false,
                means,
                average: percents.map(|all| all.iter().sum::<f64>() / all.len() as f64),
            });
            let of_paper = published.and_then(|paper| paper.average(method, capacity.as_deref()));
            rows.extend(of_paper.map(|average| Row {
                method: method.clone(),
                capacity: capacity.clone(),
                published: true,
                means: vec![None; datasets.len()],
                average: Some(average),
            }));
        }
        Self {
            class,
            datasets,
            rows,
        }
    }

    /// Whether the paper's figures are among the rows.
    fn has_published(&self) -> bool {
        self.rows.iter().any(|row| row.published)
    }

    /// By row and column, whether no cell that compresses to the same capacity is better, and one is worse.
    fn best(&self) -> Vec<Vec<bool>> {
        let cells: Vec<Vec<Option<String>>> = self.rows.iter().map(Row::cells).collect();
        // Compared as they are shown, so that equal figures are equally bold.
        let shown = |row: usize, column: usize| -> Option<f64> {
            let text = cells[row][column].as_deref()?;
            text.parse().ok()
        };
        let is_best = |row: usize, column: usize| {
            let own = &self.rows[row];
            let rivals: Vec<f64> = (0..self.rows.len())
                .filter(|&other| {
                    let other = &self.rows[other];
                    other.competes() && other.capacity == own.capacity
                })
                .filter_map(|other| shown(other, column))
                .collect();
            own.competes()
                && shown(row, column).is_some_and(|score| {
                    rivals.iter().all(|&rival| rival <= score)
                        && rivals.iter().any(|&rival| rival < score)
                })
        };
        let columns = self.datasets.len() + 1;
        (0..self.rows.len())
            .map(|row| (0..columns).map(|column| is_best(row, column)).collect())
            .collect()
    }

    /// Samples of a dataset: how many each row has, or from the fewest to the most.
    fn samples(&self, column: usize) -> String {
        let counts = self.rows.iter().filter(|row| !row.published);
        let counts = counts.map(|row| row.means[column].map_or(0, |mean| mean.count));
        let (least, most) = counts.fold((usize::MAX, 0), |(least, most), count| {
            (least.min(count), most.max(count))
        });
        if least == most {
            most.to_string()
        } else {
            format!("{least}-{most}")
        }
    }
}

/// The tables in Markdown.
pub fn markdown(tables: &[Table]) -> String {
    let mut text = String::new();
    for table in tables {
        if !text.is_empty() {
            text.push('\n');
        }
        if let Some(class) = table.class {
            let _ = writeln!(text, "Length {}:\n", class.name());
        }
        one_markdown(table, &mut text);
    }
    if tables.iter().any(Table::has_published) {
        text.push_str(
            "\nRows marked *published* are the averages of the paper (arXiv 2503.17922) over its own datasets, \
             not measured here.\n",
        );
    }
    text
}

fn one_markdown(table: &Table, text: &mut String) {
    let titles: String = table
        .datasets
        .iter()
        .map(|dataset| format!(" {} |", dataset.title()))
        .collect();
    let _ = writeln!(text, "| method | KV |{titles} Avg. |");
    let rules = "---:|".repeat(table.datasets.len() + 2);
    let _ = writeln!(text, "|---|{rules}");
    let mut last: Option<Category> = None;
    let categories: String = table
        .datasets
        .iter()
        .map(|dataset| {
            let category = dataset.category();
            let first = last.replace(category) != Some(category);
            let title = if first { category.title() } else { "" };
            if title.is_empty() {
                " |".to_owned()
            } else {
                format!(" *{title}* |")
            }
        })
        .collect();
    let _ = writeln!(text, "| | |{categories} |");
    for (row, best) in table.rows.iter().zip(table.best()) {
        let cells: String = row
            .cells()
            .into_iter()
            .zip(best)
            .map(|(cell, best)| match cell {
                Some(cell) if best => format!(" **{cell}** |"),
                Some(cell) => format!(" {cell} |"),
                None => " - |".to_owned(),
            })
            .collect();
        let method = row.method.replace('|', "\\|");
        let mark = if row.published { " *(published)*" } else { "" };
        let capacity = row.capacity().unwrap_or("-").replace('|', "\\|");
        let _ = writeln!(text, "| {method}{mark} | {capacity} |{cells}");
    }
    let samples: String = (0..table.datasets.len())
        .map(|column| format!(" {} |", table.samples(column)))
        .collect();
    let _ = writeln!(text, "| *samples* | |{samples} |");
}

/// The tables as CSV, one under the other: `lengths` says which (`all` or a class), `source` who (`measured` or
/// `published`); a column for each dataset, in percent, and the average. What is absent is empty.
pub fn csv(tables: &[Table]) -> String {
    let mut datasets: Vec<Dataset> = tables
        .iter()
        .flat_map(|table| table.datasets.iter().copied())
        .collect();
    datasets.sort();
    datasets.dedup();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |fields: Vec<&str>| {
        writer
            .write_record(fields)
            .expect("as many fields in each record, into memory");
    };
    let names = datasets.iter().map(|dataset| dataset.name());
    let header = ["lengths", "source", "method", "capacity"];
    write(header.into_iter().chain(names).chain(["average"]).collect());
    for table in tables {
        let lengths = table.class.map_or("all", Bucket::name);
        for row in &table.rows {
            let cells = row.cells();
            let cell = |index: usize| cells[index].as_deref().unwrap_or("");
            let place = |dataset| table.datasets.iter().position(|own| own == dataset);
            let scores = datasets
                .iter()
                .map(|dataset| place(dataset).map_or("", cell));
            let source = if row.published {
                "published"
            } else {
                "measured"
            };
            let capacity = row.capacity().unwrap_or("");
            let head = [lengths, source, &row.method, capacity];
            let average = cell(table.datasets.len());
            write(head.into_iter().chain(scores).chain([average]).collect());
        }
    }
    let bytes = writer.into_inner().expect("memory takes all");
    String::from_utf8(bytes).expect("made of texts")
}

/// The tables as JSON: for each its class of lengths (`all` or a class), its rows, and of these method, capacity
/// (absent where it is not known), source (`measured` or `published`), scores by dataset and their average, in percent.
pub fn json(tables: &[Table]) -> Value {
    let row = |table: &Table, row: &Row| {
        let named = table.datasets.iter().zip(&row.means);
        let scores = named.filter_map(|(dataset, mean)| {
            Some((dataset.name().to_owned(), json!((*mean)?.percent())))
        });
        json!({
            "method": row.method, "capacity": row.capacity(),
            "source": if row.published { "published" } else { "measured" },
            "scores": scores.collect::<Map<_, _>>(), "average": row.average,
        })
    };
    let table = |table: &Table| {
        let rows: Vec<Value> = table.rows.iter().map(|it| row(table, it)).collect();
        json!({"lengths": table.class.map_or("all", Bucket::name), "rows": rows})
    };
    tables.iter().map(table).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Scored;
    use super::*;

    type Given<'a> = (&'a str, Option<&'a str>, &'a str, Option<u64>, f64);

    fn scores(all: &[Given<'_>]) -> Scores {
        let mut scores = Scores::default();
        for &(method, capacity, dataset, length, score) in all {
            scores.add(&Scored {
                dataset: dataset.parse().unwrap(),
                method: method.to_owned(),
                capacity: capacity.map(str::to_owned),
                length,
                score,
            });
        }
        scores
    }

    #[test]
    fn the_table_is_the_papers() {
        let scores = scores(&[
            ("FullKV", None, "qasper", None, 0.5),
            ("FullKV", None, "lcc", None, 0.9),
            ("H2O", Some("2048"), "qasper", None, 0.25),
            ("H2O", Some("2048"), "lcc", None, 0.8),
            ("WindowKV", Some("2048"), "qasper", None, 0.4),
            ("WindowKV", Some("2048"), "qasper", None, 0.5),
            ("WindowKV", Some("2048"), "lcc", None, 0.8),
            ("WindowKV", Some("64"), "qasper", None, 1.0),
        ]);
        let paper = Published::named("Llama-3-8B-Instruct");
        let tables = Table::of(&scores, false, paper);
        assert_eq!(
            markdown(&tables),
            "| method | KV | Qasper | LCC | Avg. |\n\
             |---|---:|---:|---:|---:|\n\
             | | | *Single-document QA* | *Code* | |\n\
             | FullKV | full | 50.00 | 90.00 | 70.00 |\n\
             | FullKV *(published)* | full | - | - | 41.51 |\n\
             | H2O | 2048 | 25.00 | 80.00 | 52.50 |\n\
             | H2O *(published)* | 2048 | - | - | 41.08 |\n\
             | WindowKV | 2048 | **45.00** | 80.00 | **62.50** |\n\
             | WindowKV *(published)* | 2048 | - | - | 41.35 |\n\
             | WindowKV | 64 | 100.00 | - | - |\n\
             | *samples* | | 1-2 | 0-1 | |\n\
             \n\
             Rows marked *published* are the averages of the paper (arXiv 2503.17922) over its own datasets, \
             not measured here.\n"
        );
        assert_eq!(
            csv(&tables),
            "lengths,source,method,capacity,qasper,lcc,average\n\
             all,measured,FullKV,full,50.00,90.00,70.00\n\
             all,published,FullKV,full,,,41.51\n\
             all,measured,H2O,2048,25.00,80.00,52.50\n\
             all,published,H2O,2048,,,41.08\n\
             all,measured,WindowKV,2048,45.00,80.00,62.50\n\
             all,published,WindowKV,2048,,,41.35\n\
             all,measured,WindowKV,64,100.00,,\n"
        );
        let found = json(&tables);
        assert_eq!(found[0]["rows"].as_array().unwrap().len(), 7);
        let row = &found[0]["rows"][4];
        assert_eq!(
            (&row["method"], &row["scores"]["qasper"]),
            (&json!("WindowKV"), &json!(45.0))
        );
        assert_eq!(
            (&row["source"], &row["average"]),
            (&json!("measured"), &json!(62.5))
        );
        assert_eq!(found[0]["rows"][6]["average"], Value::Null);
    }

    #[test]
    fn longbench_e_has_a_table_for_each_class_of_length() {
        let scores = scores(&[
            ("a|b,c", Some("12%"), "qasper", Some(100), 0.5),
            ("a|b,c", Some("12%"), "lcc", Some(9000), 1.0),
        ]);
        let tables = Table::of(&scores, true, None);
        let text = markdown(&tables);
        assert_eq!(text.matches("| method |").count(), 3, "{text}");
        assert!(
            text.contains("\nLength 8k+:\n\n| method | KV | LCC | Avg. |"),
            "{text}"
        );
        assert!(!text.contains("4-8k"), "{text}");
        assert!(
            text.contains("| a\\|b,c | 12% | 50.00 | 100.00 | 75.00 |"),
            "{text}"
        );
        assert_eq!(
            csv(&tables),
            "lengths,source,method,capacity,qasper,lcc,average\n\
             all,measured,\"a|b,c\",12%,50.00,100.00,75.00\n\
             0-4k,measured,\"a|b,c\",12%,50.00,,50.00\n\
             8k+,measured,\"a|b,c\",12%,,100.00,100.00\n"
        );
        assert_eq!(markdown(&Table::of(&Scores::default(), true, None)), "");
    }
}
