//! Fully convolutional network: the encoder, 1x1 scores at its stride and an enlargement that is an
//! isometry. With skips, finer stages score too and are summed with learned convex weights. The
//! construction is ours: paper 001 compares an FCN without describing it.

use crate::architecture::Architecture;
use crate::node::{Mix, Node, Resampling};

/// The nodes after the normalisation.
pub(crate) fn nodes(net: &Architecture, skips: bool) -> Vec<Node> {
    from_stage(net, 0, 3, skips)
}

/// The stages from one on, and the scores of the picture.
fn from_stage(net: &Architecture, stage: usize, input: usize, skips: bool) -> Vec<Node> {
    let width = net.widths()[stage];
    let mut nodes = net.stage(stage, input, width);
    let last = stage + 1 == net.widths().len();
    let name = if last {
        "head".into()
    } else {
        format!("score.{stage}")
    };
    let scores = || {
        let enlarged = Node::Upsample {
            kind: Resampling::Nearest,
            factor: 1 << (stage + 1),
        };
        vec![net.scores(name.clone(), width), enlarged]
    };
    if last {
        nodes.extend(scores());
        return nodes;
    }
    let deeper = from_stage(net, stage + 1, width, skips);
    // the first stage sees too little of the picture to score it
    match skips && stage > 0 {
        true => nodes.push(Node::Sum {
            name: format!("skip.{stage}"),
            branches: vec![deeper, scores()],
            mix: Mix::Learned,
        }),
        false => nodes.extend(deeper),
    }
    nodes
}
