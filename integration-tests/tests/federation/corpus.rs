//! The corpus of the fuzz targets, without a fuzzer: every input that is known keeps every promise.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use peabiru_integration_tests::parsers::PARSERS;

#[test]
fn every_parser_keeps_its_promises_on_its_corpus() {
    for (name, check) in PARSERS {
        let inputs = names(&fuzz().join("corpus").join(name));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let bytes = fs::read(fuzz().join("corpus").join(name).join(&input)).unwrap();
            // Shown only if the check fails: which input it was.
            println!("{name}/{input}");
            check(&bytes);
            // Cut anywhere, and with a byte changed: what a fuzzer tries first.
            let step = (bytes.len() / 16).max(1);
            for at in (0..bytes.len()).step_by(step) {
                check(&bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                check(&changed);
            }
        }
    }
}

#[test]
fn every_parser_has_a_fuzz_target_and_a_corpus() {
    let expected: BTreeSet<_> = PARSERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), expected);
    let targets = names(&fuzz().join("fuzz_targets"));
    let targets: BTreeSet<_> = targets.iter().map(|file| file.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(&targets - &BTreeSet::from(["planted".to_owned()]), expected);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &targets {
        let text = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(name == "planted" || text.contains(&format!("parsers::{name}(bytes)")), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}
