//! What a check has found, and the rule that it breaks.

use std::fmt;

/// What must hold. Each has a word, which stands in the list of what is known, and a mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Arrow,
    Biggest,
    Build,
    Circle,
    Clock,
    Errors,
    Family,
    FileLines,
    FunctionLines,
    Head,
    Keys,
    Links,
    Owners,
    Senses,
}

impl Rule {
    pub(crate) const ALL: [Self; 14] = [
        Self::Arrow,
        Self::Biggest,
        Self::Build,
        Self::Circle,
        Self::Clock,
        Self::Errors,
        Self::Family,
        Self::FileLines,
        Self::FunctionLines,
        Self::Head,
        Self::Keys,
        Self::Links,
        Self::Owners,
        Self::Senses,
    ];

    /// The rule's word in the list of known findings.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::Biggest => "biggest",
            Self::Build => "build",
            Self::Circle => "circle",
            Self::Clock => "clock",
            Self::Errors => "errors",
            Self::Family => "family",
            Self::FileLines => "file-lines",
            Self::FunctionLines => "function-lines",
            Self::Head => "head",
            Self::Keys => "keys",
            Self::Links => "links",
            Self::Owners => "owners",
            Self::Senses => "senses",
        }
    }

    /// Whether an entry has a figure, which may only shrink, too.
    pub(crate) const fn is_counted(self) -> bool {
        matches!(self, Self::Biggest | Self::Clock | Self::FileLines | Self::FunctionLines | Self::Owners)
    }

    /// The advice for who broke the rule.
    pub(crate) const fn mend(self) -> &'static str {
        match self {
            Self::Arrow => {
                "write into the table of ARCHITECTURE.md what the crate knows, if it should; else cut it"
            }
            Self::Biggest => "give a part of it a crate of its own",
            Self::Build => "cut the dependency; what is promised stands in xtask/src/tidy/builds.rs",
            Self::Circle => "move what both need into a third file, or hand it in as an argument",
            Self::Clock => "take the time as an argument or from the clock that was handed in",
            Self::Errors => {
                "say under '# Errors' in the doc comment when it fails, and what the caller does then"
            }
            Self::Family => {
                "move what the child takes from its parent into a file that both name, or hand it in"
            }
            Self::FileLines => "look for the second noun in it, and give that a file",
            Self::FunctionLines => "leave the branches in it, and let helpers compute",
            Self::Head => "open the file with '//!': what it is, what it is not, where its data goes",
            Self::Keys => "give the key its row, with default and meaning, or take the row away",
            Self::Links => "name what is there",
            Self::Owners => "give the new type a name of its own, or use one of those that there are",
            Self::Senses => "take what it needs as a value, or do it in a crate that may",
        }
    }
}

/// A place where a rule does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    /// What is known by it: a path, a name; no line, since those change with every commit.
    pub(crate) key: String,
    /// How much of it there is, where the rule counts; else 1.
    pub(crate) amount: usize,
    /// The path from the root of the house.
    pub(crate) path: String,
    /// The line, the first being 1.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, path, line, what, .. } = self;
        write!(formatter, "{path}:{line}: {what}\n    what to do: {}", rule.mend())
    }
}
