//! Words that readers of technical English stumble over: the crate's text does without them.

use std::fs;
use std::path::{Path, PathBuf};

const WORDS: [&str; 24] = [
    "amongst",
    "beforehand",
    "comes along",
    "for ever",
    "forthwith",
    "goes before",
    "hence",
    "henceforth",
    "hitherto",
    "it is so",
    "newcomer",
    "nobody",
    "nought",
    "said to be",
    "shall",
    "stands",
    "thereby",
    "thus",
    "told",
    "upon",
    "whence",
    "whereby",
    "whilst",
    "whoever",
];

fn texts(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            texts(&entry.unwrap().path(), found);
        }
    } else {
        found.push(path.to_owned());
    }
}

#[test]
fn the_text_is_plain() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for part in [
        "src",
        "tests",
        "benches",
        "examples",
        "README.md",
        "CHANGELOG.md",
        "Cargo.toml",
        ".ci",
        ".github",
    ] {
        // A package has fewer files than the repository.
        if root.join(part).exists() {
            texts(&root.join(part), &mut files);
        }
    }
    let own = Path::new("tests").join("it").join("prose.rs");
    let mut seen = 0;
    let mut faults = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap();
        // Not a picture, and not this list.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        if name == own {
            continue;
        }
        seen += 1;
        for (number, line) in text.lines().enumerate() {
            // Names of functions have words too.
            let line = format!(" {} ", line.to_lowercase().replace('_', " "));
            let is_word = |word: &&str| {
                line.match_indices(*word).any(|(at, _)| {
                    let around = [
                        line[..at].chars().last(),
                        line[at + word.len()..].chars().next(),
                    ];
                    around.iter().all(|c| c.is_some_and(|c| !c.is_alphabetic()))
                })
            };
            for word in WORDS.iter().filter(|word| is_word(word)) {
                faults.push(format!("{}:{}: {word}", name.display(), number + 1));
            }
        }
    }
    assert!(seen > 100, "the test finds no text: {seen}");
    assert!(faults.is_empty(), "{faults:#?}");
}
