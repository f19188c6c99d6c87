//! From the votes about an image to its rows and maps.

use anyhow::Result;
use certiseg_cert::smoothing::{
    ABSTAIN, Correction, Decision, Family, ImageFigures, Levels, Node, Plan, RadiusTable,
    SmoothCurve, SmoothRow, Warning, not_ignored,
};
use certiseg_net::data::Map;

use super::source::Counted;
use super::test::Test;
use crate::fail::Usage;

/// What is asked beside the verdict.
pub struct Asked {
    /// Number of classes, where it was named.
    pub classes: Option<usize>,
    /// Pixels that belong to a change of label.
    pub boundary: u32,
    /// Components that may be wrong, a curve for each.
    pub curves: Vec<u64>,
    /// Whether radii are by component, at all thresholds together.
    pub radius_map: bool,
    /// Whether maps are wanted.
    pub maps: bool,
}

/// Of one image.
pub struct Verdict {
    /// The row.
    pub row: SmoothRow,
    /// Its curves.
    pub curves: Vec<SmoothCurve>,
    /// The class of each component that is certified, or an abstention.
    pub classes: Vec<u8>,
    /// Classes, p-values, radii.
    pub maps: Vec<(String, Map)>,
    /// What speaks against the number of samples.
    pub notes: Vec<String>,
}

/// Judges an image.
pub fn judge(test: &Test, asked: &Asked, image: &Counted) -> Result<Verdict> {
    let labels = image.labels.as_deref();
    let family = match (test.family, labels) {
        (Family::All, _) => None,
        (Family::Screened, _) => image.screened.clone(),
        (Family::NotIgnored, Some(labels)) => Some(not_ignored(labels)),
        (Family::NotIgnored, None) => {
            let hint = "put `labels` beside the samples, give --labels, or test all components";
            return Err(Usage::error("--family not-ignored, and no labels", hint));
        }
    };
    let family = family.as_deref();
    let votes = &image.votes;
    let histogram = votes.histogram(family)?;
    let decision = match &image.looked {
        Some(looked) => looked.decision.clone(),
        None => test.procedure.decide(votes.samples(), &histogram)?,
    };
    let classes = match &image.looked {
        Some(looked) => looked.classes.clone(),
        None => votes.certified(decision.threshold, family)?,
    };
    let sampling = image.sampling.clone();
    let mut row = SmoothRow::new(
        &image.id,
        sampling,
        &test.procedure,
        test.promise,
        &decision,
    )?;
    if image.looked.is_some() {
        row = row.over_looks(test.procedure.alpha, &classes);
    }
    if let Some(labels) = labels {
        let split = (asked.boundary, image.width);
        let figures = ImageFigures::of(asked.classes, split, &classes, labels)?;
        row.figures = Some(Box::new(figures));
    }
    let mut nodes = None;
    if let (Some(hierarchy), Some(paths)) = (&test.hierarchy, &image.paths) {
        let certified = paths.certified(&test.procedure)?;
        row.levels = Some(Levels::of(hierarchy, &certified, labels)?);
        nodes = Some(certified);
    }
    let tests = decision.tests;
    let right = labels
        .map(|labels| votes.right_histogram(labels, family))
        .transpose()?;
    let right = right
        .as_ref()
        .map(|(right, counted)| (&right[..], *counted));
    let mut curves = Vec::new();
    for allowed in &asked.curves {
        let table = table(test, votes.samples(), (tests, *allowed))?;
        curves.push(SmoothCurve::of(&row, &table, &histogram, right)?);
    }
    let mut maps = Vec::new();
    if asked.maps {
        maps = self::maps(test, asked, image, (&decision, family, &classes, &row))?;
        if let Some(nodes) = nodes {
            maps.extend(levels(&nodes));
        }
    }
    Ok(Verdict {
        notes: notes(test, image, &decision)?,
        row,
        curves,
        classes,
        maps,
    })
}

/// Radii at all thresholds together, with so many components that may be wrong.
fn table(test: &Test, samples: usize, tests: (u64, u64)) -> Result<RadiusTable> {
    let stage = test.procedure.stage;
    let law = (test.law, test.promise);
    Ok(RadiusTable::new(
        (samples, stage),
        tests,
        test.procedure.alpha,
        law,
    )?)
}

fn maps(
    test: &Test,
    asked: &Asked,
    image: &Counted,
    (decision, family, classes, row): (&Decision, Option<&[bool]>, &[u8], &SmoothRow),
) -> Result<Vec<(String, Map)>> {
    let votes = &image.votes;
    let signed = |class: &u8| {
        if *class == ABSTAIN {
            -1
        } else {
            i16::from(*class)
        }
    };
    let radii = if asked.radius_map {
        let tests = match test.procedure.correction {
            Correction::None => (1, 0),
            correction => (decision.tests, correction.allowed().unwrap_or(0)),
        };
        table(test, votes.samples(), tests)?.map_of(votes, family)?
    } else {
        row.radius_map(classes)
    };
    let classes = classes.iter().map(signed).collect();
    let mut maps = vec![
        ("classes".into(), Map::Signed(classes)),
        ("ln_p".into(), Map::Doubles(decision.ln_p(votes, family)?)),
        ("radius".into(), Map::Floats(radii)),
    ];
    if asked.radius_map {
        // what abstains at tau may have a radius too, which is that of this class
        let guess = votes.classes().iter().map(|class| i16::from(*class));
        maps.push(("guess".into(), Map::Signed(guess.collect())));
    }
    Ok(maps)
}

/// Level and node by component, -1 where none is certified.
fn levels(nodes: &[Option<Node>]) -> [(String, Map); 2] {
    let map = |of: fn(&Node) -> i16| {
        let values = nodes.iter().map(|node| node.as_ref().map_or(-1, of));
        Map::Signed(values.collect())
    };
    [
        (
            "level".into(),
            map(|node| i16::try_from(node.level).unwrap_or(i16::MAX)),
        ),
        ("node".into(), map(|node| node.node.into())),
    ]
}

fn notes(test: &Test, image: &Counted, decision: &Decision) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if image.repeated > 0 {
        notes.push(format!(
            "{} label maps of image {} equal an earlier one: was noise used twice? then nothing here is certified",
            image.repeated, image.id
        ));
    }
    let counts = (image.sampling.choose, image.votes.samples());
    notes.extend(warned(test, counts, decision.tests)?);
    Ok(notes)
}

/// What speaks against n0 and n for so many tests.
pub fn warned(test: &Test, (choose, samples): (usize, usize), tests: u64) -> Result<Vec<String>> {
    if tests == 0 {
        return Ok(Vec::new());
    }
    let plan = Plan {
        tau: test.procedure.tau,
        tests,
        alpha: test.procedure.alpha,
        correction: test.procedure.correction,
        stage: test.procedure.stage,
        choose,
    };
    let warnings = plan.warnings(samples)?;
    // of votes the number of samples that chose may be unknown
    let told = |warning: &Warning| *warning != Warning::NoChoice;
    let note = |warning: Warning| format!("n = {samples}, N = {tests}: {warning}");
    Ok(warnings.into_iter().filter(told).map(note).collect())
}
