//! The committed code is what the protos say. `UPDATE_CONTRACTS=1` (`make gen`) writes it.

#![expect(clippy::expect_used, reason = "a test file: a failure is the message")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn protos(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("proto directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            protos(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
}

fn generate(into: &Path) -> BTreeMap<String, Vec<u8>> {
    let include = root().join("proto");
    let mut files = Vec::new();
    protos(&include.join("rapport"), &mut files);
    files.sort();

    let mut compiler = protox::Compiler::new([&include]).expect("compiler");
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(files).expect("protos compile");
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(into)
        .compile_fds(compiler.file_descriptor_set())
        .expect("code generation");

    // Encoded by protox, not by prost: prost would drop the custom options.
    std::fs::write(into.join("descriptors.binpb"), compiler.encode_file_descriptor_set())
        .expect("descriptors");
    let mut generated = BTreeMap::new();
    for entry in std::fs::read_dir(into).expect("generated directory") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        generated.insert(name, std::fs::read(&path).expect("generated file"));
    }
    generated
}

#[test]
fn committed_code_is_what_the_protos_say() {
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("contracts-gen");
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).expect("scratch directory");
    let generated = generate(&scratch);

    let committed = root().join("libs/contracts/src/gen");
    if std::env::var_os("UPDATE_CONTRACTS").is_some() {
        std::fs::create_dir_all(&committed).expect("gen directory");
        for (name, content) in &generated {
            std::fs::write(committed.join(name), content).expect("write");
        }
    }
    for (name, content) in &generated {
        let on_disk = std::fs::read(committed.join(name)).unwrap_or_default();
        assert!(&on_disk == content, "{name} differs from the protos: run `make gen`");
    }
}

#[test]
fn every_rpc_says_who_may_call_it() {
    let pool = DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors");
    let auth = pool.get_extension_by_name("rapport.common.v1.auth").expect("auth option");
    let mut count = 0;
    for service in pool.services() {
        for method in service.methods() {
            count += 1;
            let options = method.options();
            assert!(options.has_extension(&auth), "{} lacks the auth option", method.full_name());
            let Value::Message(rule) = options.get_extension(&auth).into_owned() else {
                panic!("{}: the auth option is a message", method.full_name());
            };
            let set = rule.fields().count();
            assert_eq!(set, 1, "{}: exactly one rule", method.full_name());
        }
    }
    assert!(count > 40, "only {count} RPCs found");
}
