//! The document and the page of small rows.

use super::pack::tests::noisy;
use super::*;
use crate::Error;

const HEAD: &str = r#"{"kind":"head","format":1,"program":"certiseg","version":"0","settings":{"model":"a/b.safetensors","model_hash":"m","data_hash":"d"},"lipschitz":2.0,"lipschitz_source":"assumed, given by the caller","norm":"2","unit":"pixels","verb":"VERB"}"#;

/// Of a verb.
pub fn run(verb: &str, rows: &[String]) -> Run {
    let head = HEAD.replace("VERB", verb);
    Run::read(verb, &head, rows.iter().map(String::as_str)).unwrap()
}

fn row(image: &str, metric: &str, eps: f64, value: Option<f64>) -> String {
    let clean = value.map(|_| 1.0);
    let undefined = value.is_none();
    serde_json::json!({
        "kind": "row", "image": image, "metric": metric, "norm": "2", "clean": clean, "value": value, "eps": eps,
        "lipschitz": 2.0, "eta": 0.0, "counted": 9, "undefined": undefined,
    })
    .to_string()
}

fn attack(image: &str, eps: f64, certified: f64, attacked: f64) -> String {
    serde_json::json!({
        "kind": "attack", "image": image, "metric": "accuracy", "norm": "2", "eps": eps, "clean": 1.0,
        "certified": certified, "attacked": attacked, "attack": "pgd",
    })
    .to_string()
}

fn curve(image: &str) -> String {
    serde_json::json!({
        "kind": "curve", "image": image, "metric": "accuracy", "norm": "2",
        "eps": [0.0, 0.2, 4.0], "value": [1.0, 0.5, 0.0],
    })
    .to_string()
}

fn materials(runs: Vec<Run>) -> Materials {
    Materials {
        runs,
        ..Materials::default()
    }
}

fn certify() -> Run {
    let rows = [
        row("a", "accuracy", 0.1, Some(0.99999)),
        row("b", "accuracy", 0.1, Some(0.3)),
        curve("a"),
        curve("b"),
        row("a", "iou:1", 0.1, None),
        row("b", "iou:1", 0.1, None),
    ];
    run("certify", &rows)
}

fn document(runs: Vec<Run>) -> Document {
    build::document(&materials(runs)).unwrap()
}

#[test]
fn numbers_are_those_of_the_rows_cut_against_us() {
    let document = document(vec![certify()]);
    let accuracy = &document.metrics[0];
    let at = |eps: f64| {
        document
            .positions
            .iter()
            .position(|stop| stop.number == eps)
            .unwrap()
    };
    assert_eq!(accuracy.mean[at(0.1)], "0.6499");
    assert_eq!(document.images[0].values[0][at(0.1)], "0.9999");
    assert_eq!(accuracy.mean[at(0.0)], "1.0000");
    assert!(document.positions[at(0.1)].row && !document.positions[at(0.0)].row);
    assert_eq!(document.start, at(0.1));
    // between 0.2 and 4 the value of the curve at 4
    let after = document
        .positions
        .iter()
        .position(|stop| stop.number > 0.2)
        .unwrap();
    assert_eq!(accuracy.mean[after], "0.0000");
    let half = document
        .thresholds
        .iter()
        .position(|text| text == "0.5")
        .unwrap();
    assert_eq!(document.images[0].until[0][half], "0.1000");
    assert_eq!(document.verdict.state, "untested");
}

#[test]
fn absent_classes_are_marked() {
    let document = document(vec![certify()]);
    let states: Vec<_> = document.classes.iter().map(|class| class.state).collect();
    assert_eq!(states, ["unknown", "absent"]);
    assert_eq!(document.metrics[1].undefined, 2);
    assert_eq!(document.metrics[1].mean[0], "-");
    assert!(document.images[0].values[1].is_empty());
}

#[test]
fn classes_are_those_of_rows_and_of_pictures() {
    let picture = |id: &str| {
        let mut picture = noisy(id, 4);
        picture.label = Some([[1; 8], [2; 8]].concat());
        picture.prediction = vec![3; 16];
        picture
    };
    let dataset = r#"{"kind":"dataset","metric":"iou:2","norm":"2","clean":0.25,"value":0.1,"eps":0.1,"sum_of_image_minima":0.1,"images":2,"undefined":0}"#;
    let rows = [
        row("a", "iou:1", 0.1, Some(0.5)),
        row("b", "iou:1", 0.1, Some(0.5)),
        dataset.to_owned(),
    ];
    let states = |pictures: Vec<Picture>| {
        let materials = Materials {
            pictures,
            ..materials(vec![run("certify", &rows)])
        };
        build::document(&materials).unwrap().classes
    };
    let all = states(vec![picture("a"), picture("b")]);
    let state: Vec<_> = all.iter().map(|class| class.state).collect();
    assert_eq!(state, ["absent", "present", "present", "absent"]);
    // figures that certificates begin with; there is no row of eval
    assert_eq!(all[1].iou, ["-", "1.0000"]);
    assert_eq!(all[2].iou, ["0.2500", "-"]);
    // a picture that is missing may have the class
    let some: Vec<_> = states(vec![picture("a")]);
    let state: Vec<_> = some.iter().map(|class| class.state).collect();
    assert_eq!(state, ["unknown", "present", "present", "unknown"]);
}

#[test]
fn provenance_has_what_the_head_has() {
    let document = document(vec![certify()]);
    let facts = &document.sources[0].facts;
    let value = |name: &str| {
        let found = facts.iter().find(|fact| fact[0] == name);
        found.map(|fact| fact[1].as_str())
    };
    assert_eq!(value("model"), Some("a/b.safetensors"));
    assert_eq!(
        (value("model hash"), value("data hash")),
        (Some("m"), Some("d"))
    );
    assert_eq!(value("data"), None);
}

#[test]
fn a_beaten_certificate_comes_first() {
    let sound = attack("a", 0.1, 0.99999, 1.0);
    let page =
        |rows: &[String]| super::page(&materials(vec![certify(), run("attack", rows)])).unwrap();
    let good = page(std::slice::from_ref(&sound));
    assert_eq!(
        good.verdict,
        "Sound on 1/1 images: no attack beat a certificate"
    );
    assert!(!good.unsound);
    // by the row itself, and by that of another run
    let marked = sound.replace('}', r#","unsound":true}"#);
    for beaten in [marked, attack("b", 0.1, 0.1, 0.25)] {
        let bad = page(&[sound.clone(), beaten]);
        assert!(
            bad.unsound && bad.verdict.starts_with("UNSOUND on 1/"),
            "{}",
            bad.verdict
        );
        let body = bad.html.find("<header").unwrap();
        let first = &bad.html[body..bad.html.find("id=\"controls\"").unwrap()];
        assert!(first.contains("class=\"verdict unsound\""));
    }
}

#[test]
fn runs_of_several_models_have_no_page() {
    let head = HEAD.replace("\"m\"", "\"n\"");
    let other = Run::read("other", &head, []).unwrap();
    let error = super::page(&materials(vec![certify(), other])).unwrap_err();
    assert!(
        matches!(&error, Error::TwoModels { theirs, .. } if theirs == "n"),
        "{error}"
    );
    let head = HEAD.replace("\"d\"", "\"e\"");
    let other = Run::read("other", &head, [attack("b", 0.1, 0.1, 0.2).as_str()]).unwrap();
    let page = super::page(&materials(vec![certify(), other])).unwrap();
    assert!(
        page.warnings[0].contains("other data"),
        "{:?}",
        page.warnings
    );
    // values of other data say nothing against these certificates
    assert!(!page.unsound);
    let error = super::page(&materials(Vec::new())).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
}

#[test]
fn an_attack_whose_own_row_certifies_nothing_beats_another_run() {
    let runs = vec![certify(), run("attack", &[attack("b", 0.1, 0.0, 0.25)])];
    let page = super::page(&materials(runs)).unwrap();
    assert!(page.unsound);
    let line = "UNSOUND on 1/1 images: an attack beat a certificate";
    assert_eq!(page.verdict, line);
}

#[test]
fn goals_with_nothing_at_stake_are_no_evidence() {
    let least = |certified: f64, attacked: f64| {
        format!(
            r#"{{"kind":"least","image":"a","goal":"accuracy<=0.5","certified":{certified},"attacked":{attacked}}}"#
        )
    };
    for (row, state) in [
        (least(0.0, 0.1), "untested"),
        (least(0.1, 0.1), "sound"),
        (least(0.2, 0.1), "unsound"),
    ] {
        let verdict = document(vec![certify(), run("attack", &[row])]).verdict;
        assert_eq!(verdict.state, state);
    }
}

#[test]
fn other_numbers_of_the_same_name_have_no_page() {
    let row = row("a", "accuracy", 0.5, Some(0.9));
    for (from, to) in [
        (r#""norm":"2""#, r#""norm":"inf""#),
        (r#""unit":"pixels""#, r#""unit":"other pixels""#),
        (r#""data_hash""#, r#""region_hash":"r","data_hash""#),
    ] {
        let head = HEAD.replace(from, to);
        let other = Run::read("other", &head, [row.as_str()]).unwrap();
        let error = super::page(&materials(vec![certify(), other])).unwrap_err();
        assert!(matches!(error, Error::Mixed { .. }), "{error}");
    }
}

#[test]
fn maps_of_another_network_are_told() {
    let accuracy =
        row("a", "accuracy", 0.1, Some(0.5)).replace(r#""counted":9"#, r#""counted":16"#);
    let warnings = |wrong: usize| {
        let mut picture = noisy("a", 4);
        picture.label = Some(vec![1; 16]);
        picture.prediction = [vec![0; wrong], vec![1; 16 - wrong]].concat();
        let materials = Materials {
            pictures: vec![picture],
            ..materials(vec![run("certify", std::slice::from_ref(&accuracy))])
        };
        build::document(&materials).unwrap().warnings
    };
    assert!(warnings(0).is_empty());
    assert!(warnings(1)[0].contains("not of the rows"));
}

#[test]
fn budgets_of_other_kinds_have_no_common_page() {
    let of = |from: &str, to: &str, rows: &[String]| {
        assert!(HEAD.contains(from), "{from}");
        let head = HEAD.replace(from, to);
        Run::read("other", &head, rows.iter().map(String::as_str)).unwrap()
    };
    let beside = |other: Run| super::page(&materials(vec![certify(), other]));
    let struck = [attack("b", 0.1, 0.1, 0.2)];
    let error = beside(of("\"2\"", "\"inf\"", &struck)).unwrap_err();
    assert!(matches!(&error, Error::Mixed { what, .. } if *what == "norm"));
    let part = of("\"m\"", "\"m\",\"region_hash\":\"r\"", &[curve("a")]);
    let error = beside(part).unwrap_err().to_string();
    assert!(error.contains("another region"), "{error}");
    // rows of smoothing have their own norm, and their own table
    beside(of("\"2\"", "\"inf\"", &[])).unwrap();
    // pictures made ready in another way: nothing that can be held against these certificates
    let other = of("\"m\"", "\"m\",\"filter\":\"nearest\"", &struck);
    assert!(!beside(other).unwrap().unsound);
    assert!(beside(of("\"m\"", "\"m\"", &struck)).unwrap().unsound);
}

#[test]
fn a_certificate_of_another_run_may_be_beaten_where_nothing_was_at_stake() {
    let beaten = run("attack", &[attack("b", 0.1, 0.0, 0.25)]);
    let verdict = document(vec![certify(), beaten]).verdict;
    assert_eq!(
        verdict.line,
        "UNSOUND on 1/1 images: an attack beat a certificate"
    );
}

#[test]
fn rows_that_are_given_twice_count_once() {
    let goal = serde_json::json!({
        "kind": "row", "image": "a", "metric": "accuracy", "norm": "2", "clean": 1.0, "value": 0.5,
        "goal": "accuracy<=0.5", "lipschitz": 2.0, "eta": 0.0, "counted": 9,
    })
    .to_string();
    let certify = || run("certify", std::slice::from_ref(&goal));
    let document = document(vec![certify(), certify()]);
    let goals = &document.metrics[0].goals;
    assert_eq!((goals.len(), goals[0].images), (1, 1));
}

#[test]
fn a_budget_beyond_the_curves_does_not_stretch_the_slider() {
    let rows = [
        row("a", "accuracy", 0.1, Some(0.5)),
        row("a", "accuracy", 1e6, Some(0.0)),
        curve("a"),
    ];
    let positions = document(vec![run("certify", &rows)]).positions;
    assert_eq!(positions.last().unwrap().number, 1e6);
    let near = positions.iter().filter(|stop| stop.number <= 4.0);
    assert!(near.count() > 20, "{positions:?}");
}

#[test]
fn maps_of_another_size_are_seen() {
    let warnings = |size: &str| {
        let to = format!("\"m\",\"size\":{size}");
        let head = HEAD.replace("\"m\"", &to);
        let rows = [row("a", "accuracy", 0.1, Some(0.5))];
        let run = Run::read("r", &head, rows.iter().map(String::as_str)).unwrap();
        let materials = Materials {
            pictures: vec![noisy("a", 4)],
            ..materials(vec![run])
        };
        super::page(&materials).unwrap().warnings
    };
    assert_eq!(warnings("[4,4]"), [""; 0]);
    assert!(warnings("[8,4]")[0].contains("[4,4]"));
}

#[test]
fn nothing_in_the_document_ends_the_script() {
    let evil = "</script><script>alert(1)</script>{{script}}";
    let rows = [row(evil, "accuracy", 0.1, Some(0.5))];
    let html = super::page(&materials(vec![run("certify", &rows)]))
        .unwrap()
        .html;
    assert_eq!(html.matches("alert(1)").count(), 1);
    assert!(!html.contains("<script>alert"));
    assert_eq!(html.matches("</script>").count(), 2);
    assert!(!html.contains("http://") && !html.contains("https://"));
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn fifty_pictures_of_256_stay_below_5_mb() {
    let names: Vec<String> = (0..50).map(|i| format!("picture {i}")).collect();
    let rows: Vec<String> = names
        .iter()
        .flat_map(|name| [row(name, "accuracy", 0.1, Some(0.5)), curve(name)])
        .collect();
    let materials = Materials {
        pictures: names.iter().map(|name| noisy(name, 256)).collect(),
        ..materials(vec![run("certify", &rows)])
    };
    let document = build::document(&materials).unwrap();
    assert!(document.images.iter().all(|image| image.picture.is_some()));
    let html = super::page(&materials).unwrap().html;
    assert!(html.len() < 5_000_000, "{}", html.len());
}
