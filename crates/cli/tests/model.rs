//! `certiseg model` and `certiseg audit`: in, out, and what users get wrong.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{certiseg, folder_data, stdout, untrained_model};
use safetensors::tensor::{Dtype, TensorView};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A graph file and weights: 3 to 2 classes by one 1x1 convolution with rows (3, 0, 0), (0, 4, 0).
fn described(dir: &Path) -> [PathBuf; 2] {
    let graph = r#"{
        "format": "layer list, dataflow by names",
        "input": {"name": "x", "shape": ["N", 3, "H", "W"], "range": [0, 1], "size_multiple": 1},
        "output": "head", "num_classes": 2, "class_names": ["a", "b"],
        "maxmin_split": "first half of channels a, second half b: out = concat(max(a,b), min(a,b))",
        "conv_weight_layout": "OIHW; conv_transpose2d IOHW (torch)",
        "L": {"rigorous": 1e-9},
        "layers": [
            {"name": "head", "op": "conv2d", "inputs": ["x"], "weight": "w", "bias": null,
             "weight_shape": [2, 3, 1, 1], "stride": 1, "padding": 0, "dilation": 1,
             "padding_mode": "zeros", "coeff": 1.0, "branch_coeff": 1.0}
        ]
    }"#;
    let weights: Vec<u8> = [3f32, 0.0, 0.0, 0.0, 4.0, 0.0]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::F32, vec![2, 3, 1, 1], &weights).unwrap();
    let content = safetensors::serialize([("w", view)], None).unwrap();
    let paths = [dir.join("net.graph.json"), dir.join("net.safetensors")];
    fs::write(&paths[0], graph).unwrap();
    fs::write(&paths[1], content).unwrap();
    paths
}

/// Exit code 2, an `error: ` with these words, and no file at `out`.
fn refused(arguments: &[&str], words: &[&str], out: Option<&Path>) {
    let output = certiseg(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.starts_with("error: "), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    if let Some(out) = out {
        assert!(!out.exists(), "{}", out.display());
    }
}

#[test]
fn a_described_network_is_imported_audited_and_certified() {
    let dir = tempfile::tempdir().unwrap();
    let [graph, tensors] = described(dir.path());
    let model = dir.path().join("model.safetensors");
    let import = [
        "model",
        "import",
        "--graph",
        text(&graph),
        "--tensors",
        text(&tensors),
        "--out",
        text(&model),
    ];
    stdout(&import);
    refused(
        &import,
        &["model.safetensors exists", "name another --out"],
        None,
    );

    // the constant is that of the weights, not what the graph file says of itself
    let audit = stdout(&["audit", "--model", text(&model), "--size", "4x5", "--json"]);
    let audit: serde_json::Value = serde_json::from_str(&audit).unwrap();
    let lipschitz = audit["lipschitz"].as_f64().unwrap();
    assert!((4.0..4.0 + 1e-6).contains(&lipschitz), "{audit}");
    assert_eq!(audit["layers"][0]["name"], "head");
    assert!(audit["layers"][0]["seconds"].as_f64().unwrap() >= 0.0);
    let table = stdout(&["model", "audit", "--model", text(&model), "--size", "4x5"]);
    assert!(table.contains("head") && table.contains("ms"), "{table}");

    let data = folder_data(dir.path(), "data", 2);
    let fails = certiseg(&[
        "certify",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--size",
        "32",
    ]);
    let message = String::from_utf8_lossy(&fails.stderr).into_owned();
    assert!(
        message.contains("class"),
        "three classes in the masks, two in the network: {message}"
    );
}

#[test]
fn a_model_is_described_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let info = stdout(&["model", "info", text(&model)]);
    for words in [
        "encoder.0.0",
        "3x3 convolution, stride 2, orthogonal",
        "16x16x16",
        "multiples of 8",
    ] {
        assert!(info.contains(words), "{words} is not in: {info}");
    }
    let info = stdout(&["model", "info", text(&model), "--json", "--size", "64"]);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["classes"], 3);
    assert_eq!(info["lines"][1]["size"], serde_json::json!([32, 32]));

    let onnx = dir.path().join("model.onnx");
    stdout(&["model", "export", text(&model), "--out", text(&onnx)]);
    let bytes = fs::read(&onnx).unwrap();
    assert!(bytes.windows(8).any(|w| w == b"certiseg"));
    let copy = dir.path().join("copy.safetensors");
    stdout(&["model", "export", text(&model), "--out", text(&copy)]);
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&model).unwrap());
}

#[test]
fn what_users_get_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let model = untrained_model(dir.path());
    let out = dir.path().join("out.onnx");
    let nowhere = dir.path().join("nowhere");
    refused(&["model", "info", text(&nowhere)], &["nowhere"], None);
    refused(
        &["model", "info", text(&model), "--size", "33"],
        &["33x33", "multiples of 8"],
        None,
    );
    refused(
        &["model", "export", text(&nowhere), "--out", text(&out)],
        &["nowhere"],
        Some(&out),
    );
    let unknown = dir.path().join("out.pth");
    refused(
        &["model", "export", text(&model), "--out", text(&unknown)],
        &[".onnx or .safetensors"],
        Some(&unknown),
    );
    let far = dir.path().join("no/such/folder.onnx");
    refused(
        &["model", "export", text(&model), "--out", text(&far)],
        &["cannot write"],
        Some(&far),
    );

    let [graph, tensors] = described(dir.path());
    let out = dir.path().join("out.safetensors");
    let import = |words: &[&str]| {
        let arguments = [
            "model",
            "import",
            "--graph",
            text(&graph),
            "--tensors",
            text(&tensors),
            "--out",
            text(&out),
        ];
        refused(&arguments, words, Some(&out));
    };
    let whole = fs::read_to_string(&graph).unwrap();
    for (from, to, words) in [
        ("\"zeros\"", "\"reflect\"", ["head", "reflect"]),
        (
            "conv2d\", \"inputs",
            "attention\", \"inputs",
            ["head", "attention"],
        ),
        ("[2, 3, 1, 1]", "[2, 3, 3, 3]", ["head", "w"]),
        ("\"weight\": \"w\"", "\"weight\": \"v\"", ["head", "v"]),
    ] {
        assert!(whole.contains(from), "{from}");
        fs::write(&graph, whole.replacen(from, to, 1)).unwrap();
        import(&words);
    }
    fs::write(&graph, &whole[..whole.len() / 2]).unwrap();
    import(&["net.graph.json"]);
    fs::write(&graph, &whole).unwrap();
    let bytes = fs::read(&tensors).unwrap();
    fs::write(&tensors, &bytes[..bytes.len() - 3]).unwrap();
    import(&["net.safetensors"]);
}

/// The network in the tree is the one its card is about.
#[test]
fn the_card_is_that_of_the_network() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let card = fs::read_to_string(models.join("README.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = folder_data(dir.path(), "data", 1);
    let rows = stdout(&[
        "certify",
        "--model",
        text(&models.join("kvasir_s.safetensors")),
        "--data",
        text(&data.join("images")),
        "--layout",
        "images",
        "--metric",
        "stability",
        "--eps",
        "0.1",
        "--format",
        "jsonl",
    ]);
    let head: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    let settings = &head["settings"];
    let hash = settings["model_hash"].as_str().unwrap();
    assert!(card.contains(&format!("`{hash}`")), "{hash}");
    assert_eq!(settings["filter"], "nearest");
    let lipschitz = head["lipschitz"].as_f64().unwrap();
    assert!((2.0..=2.000012).contains(&lipschitz), "{lipschitz}");
}
