//! The 21 datasets and what each asks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::LongBenchError;
use crate::evaluation::metrics::Metric;

/// What a dataset tests; the paper's tables are in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Category {
    /// Questions about one document.
    SingleDocumentQa,
    /// Questions about several.
    MultiDocumentQa,
    /// Summaries.
    Summarization,
    /// Examples, then one more of their kind.
    FewShot,
    /// Counting and finding paragraphs.
    Synthetic,
    /// The next line of code.
    Code,
}

impl Category {
    /// The name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::SingleDocumentQa => "Single-document QA",
            Self::MultiDocumentQa => "Multi-document QA",
            Self::Summarization => "Summarization",
            Self::FewShot => "Few-shot",
            Self::Synthetic => "Synthetic",
            Self::Code => "Code",
        }
    }
}

/// One of LongBench's datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Dataset(usize);

struct Entry {
    name: &'static str,
    title: &'static str,
    category: Category,
    metric: Metric,
    /// Whether LongBench-E has it as well.
    extended: bool,
}

const fn entry(
    name: &'static str,
    title: &'static str,
    category: Category,
    metric: Metric,
    extended: bool,
) -> Entry {
    Entry {
        name,
        title,
        category,
        metric,
        extended,
    }
}

#[rustfmt::skip]
const ENTRIES: [Entry; 21] = {
    use Category::{Code, FewShot, MultiDocumentQa, SingleDocumentQa, Summarization, Synthetic};
    use Metric::{Classification, CodeSim, Count, QaF1, QaF1Zh, Retrieval, RetrievalZh, RougeL, RougeLZh};
    [
        entry("narrativeqa", "NarrativeQA", SingleDocumentQa, QaF1, false),
        entry("qasper", "Qasper", SingleDocumentQa, QaF1, true),
        entry("multifieldqa_en", "MultiFieldQA-en", SingleDocumentQa, QaF1, true),
        entry("multifieldqa_zh", "MultiFieldQA-zh", SingleDocumentQa, QaF1Zh, false),
        entry("hotpotqa", "HotpotQA", MultiDocumentQa, QaF1, true),
        entry("2wikimqa", "2WikiMQA", MultiDocumentQa, QaF1, true),
        entry("musique", "MuSiQue", MultiDocumentQa, QaF1, false),
        entry("dureader", "DuReader", MultiDocumentQa, RougeLZh, false),
        entry("gov_report", "GovReport", Summarization, RougeL, true),
        entry("qmsum", "QMSum", Summarization, RougeL, false),
        entry("multi_news", "MultiNews", Summarization, RougeL, true),
        entry("vcsum", "VCSUM", Summarization, RougeLZh, false),
        entry("trec", "TREC", FewShot, Classification, true),
        entry("triviaqa", "TriviaQA", FewShot, QaF1, true),
        entry("samsum", "SAMSum", FewShot, RougeL, true),
        entry("lsht", "LSHT", FewShot, Classification, false),
        entry("passage_count", "PassageCount", Synthetic, Count, true),
        entry("passage_retrieval_en", "PassageRetrieval-en", Synthetic, Retrieval, true),
        entry("passage_retrieval_zh", "PassageRetrieval-zh", Synthetic, RetrievalZh, false),
        entry("lcc", "LCC", Code, CodeSim, true),
        entry("repobench-p", "RepoBench-P", Code, CodeSim, true),
    ]
};

impl Dataset {
    /// Every dataset, in the order of the paper's tables.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ENTRIES.len()).map(Self)
    }

    /// The names of every dataset, for messages.
    pub(super) fn names() -> String {
        let names: Vec<_> = Self::all().map(Self::name).collect();
        names.join(", ")
    }

    fn entry(self) -> &'static Entry {
        &ENTRIES[self.0]
    }

    /// The name that files and command lines use.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The name in tables.
    pub fn title(self) -> &'static str {
        self.entry().title
    }

    /// What it tests.
    pub fn category(self) -> Category {
        self.entry().category
    }

    /// How its answers are scored.
    pub fn metric(self) -> Metric {
        self.entry().metric
    }

    /// Whether LongBench-E has it.
    pub fn is_extended(self) -> bool {
        self.entry().extended
    }

    /// Whether the prompt takes the form of a conversation where the model has one. Few-shot examples and code
    /// are continued better without.
    pub fn takes_chat_form(self) -> bool {
        !matches!(self.category(), Category::FewShot | Category::Code)
    }

    /// Whether the first line of an answer alone is the answer: after examples, models go on with more of them.
    pub fn is_one_line(self) -> bool {
        self.category() == Category::FewShot
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dataset {
    type Err = LongBenchError;

    fn from_str(name: &str) -> Result<Self, LongBenchError> {
        Self::all()
            .find(|dataset| dataset.name() == name)
            .ok_or_else(|| LongBenchError::UnknownDataset {
                name: name.to_owned(),
            })
    }
}

impl TryFrom<String> for Dataset {
    type Error = LongBenchError;

    fn try_from(name: String) -> Result<Self, LongBenchError> {
        name.parse()
    }
}

impl From<Dataset> for &'static str {
    fn from(dataset: Dataset) -> Self {
        dataset.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: impl Fn(Dataset) -> bool) -> Vec<&'static str> {
        let found = Dataset::all().filter(|&dataset| of(dataset));
        found.map(Dataset::name).collect()
    }

    #[test]
    fn the_rules_are_longbenchs() {
        let plain = ["trec", "triviaqa", "samsum", "lsht", "lcc", "repobench-p"];
        assert_eq!(names(|dataset| !dataset.takes_chat_form()), plain);
        assert_eq!(names(Dataset::is_one_line), plain[..4]);
        assert_eq!(names(Dataset::is_extended).len(), 13);
        assert_eq!(Dataset::all().count(), 21);
    }

    #[test]
    fn names_are_found_and_others_refused() {
        for dataset in Dataset::all() {
            assert_eq!(dataset.name().parse::<Dataset>().unwrap(), dataset);
            let json = serde_json::to_string(&dataset).unwrap();
            assert_eq!(serde_json::from_str::<Dataset>(&json).unwrap(), dataset);
        }
        let message = "squad".parse::<Dataset>().unwrap_err().to_string();
        assert!(message.contains("squad") && message.contains("repobench-p"));
    }
}
