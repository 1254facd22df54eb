//! The modules: imports point down only, and one file names a memory ordering.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `src`, each with those that it may import from.
const MODULES: [(&str, &[&str]); 6] = [
    ("connection", &["drain"]),
    ("gate", &[]),
    ("drain", &["gate", "trace"]),
    ("middleware", &["drain", "gate"]),
    // Documentation only.
    ("recipes", &[]),
    ("shutdown", &["drain", "gate", "trace"]),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file, without its comments.
fn code(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.map(str::to_owned).collect()
}

#[test]
fn imports_point_down() {
    let mut seen = 0;
    for entry in fs::read_dir(src()).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        let (_, below) = MODULES
            .iter()
            .find(|(module, _)| *module == name)
            .unwrap_or_else(|| panic!("src/{name} is not listed"));
        for file in files(&folder) {
            for line in code(&file) {
                let Some((_, import)) = line.split_once("crate::") else {
                    continue;
                };
                let to = import.split([':', ';', ' ', ',', ')']).next().unwrap();
                let allowed = to == name || below.contains(&to);
                assert!(allowed, "{}: {line}", file.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "the test finds no imports");
}

#[test]
fn one_file_names_a_memory_ordering() {
    let name = |file: PathBuf| file.strip_prefix(src()).unwrap().display().to_string();
    let named: Vec<_> = files(&src())
        .into_iter()
        .filter(|file| code(file).iter().any(|line| line.contains("Ordering::")))
        .map(name)
        .collect();
    assert_eq!(
        named,
        [Path::new("gate").join("word.rs").display().to_string()]
    );
}
