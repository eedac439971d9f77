//! What is generated from the contract is what it says.

use std::path::{Path, PathBuf};

use trivium_telemetry::{Contract, render};

/// Set to write the generated files instead of checking them (`make telemetry`).
const WRITE: &str = "TRIVIUM_WRITE_TELEMETRY";

#[test]
fn generated_files_match_the_contract() {
    let contract = Contract::current();
    for (path, ought) in [
        ("../src/telemetry/names.rs", render::constants(&contract)),
        ("../../docs/telemetry.md", render::page(&contract)),
    ] {
        let path = crate_dir().join(path);
        let is = std::fs::read_to_string(&path).unwrap_or_default();
        if std::env::var_os(WRITE).is_some() {
            // A file that is written anew is compiled anew, with everything that names it.
            if is != ought {
                std::fs::write(&path, ought).expect("written");
            }
            continue;
        }
        assert!(is == ought, "{} is out of date; run `make telemetry`", path.display());
    }
}

fn crate_dir() -> PathBuf {
    // Where cargo runs the crate's tests: a build folder may outlive the checkout that filled it.
    Path::new(&std::env::current_dir().expect("a current folder")).to_owned()
}
