//! Settings of a network: one struct describes it, [`Architecture::nodes`] is its graph, which
//! training, audit, baking, export and summary walk.
//!
//! | | `plain` (default) | `paper` (the structure of the code released with paper 001) |
//! |---|---|---|
//! | padding | zeros | circular, zeros in the ASPP |
//! | order | convolution, centering, activation: centering folds into a bias | convolution, activation, centering |
//! | scale per convolution | 1 | RMS: √(out/in), transposed √(in/out) |
//! | ASPP rates | h/8, h/4, 3h/8 of the feature size h | 6, 12, 18 |
//!
//! With orthonormal rows of the head every network is 1-Lipschitz after its normalisation, up to the
//! scales of `paper`; other heads are certified by their rows. The unconstrained twin is for comparison.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layer::orthogonal::Orthogonaliser;
use crate::node::{Construction, Conv, Mix, Node, Part, Wrap, convolutions};
use crate::{deeplab, fcn, unet};

/// The shape of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// DeepLabV3-like: encoder, ASPP, decoder of transposed convolutions (paper 001, appendix D).
    Deeplab,
    /// The encoder, scores at its stride, enlarged.
    Fcn,
    /// As [`Family::Fcn`] with scores of the finer stages, summed with learned convex weights.
    FcnSkips,
    /// U-Net on split channels: one half goes down and up again, the other is the skip.
    Unet,
    /// U-Net with the usual concatenation, divided by √2.
    UnetClassic,
}

/// Width and depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// 16/32/64, 2 convolutions per stage: small enough to travel inside the program.
    Xs,
    /// 32/64/128, 3 convolutions per stage.
    S,
    /// 64/128/256, 5 convolutions per stage.
    M1,
    /// 64/128/256/512, 5 convolutions per stage.
    M2,
    /// 64/128/256/512, 7 convolutions per stage.
    L,
    /// 128/256/512/1024/2048, 5 convolutions per stage.
    Xl,
}

/// Structure beside the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Ours, see the table of the module.
    Plain,
    /// The structure of the code released with paper 001.
    Paper,
}

/// How kernels are constrained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernels {
    /// Orthogonal (AOC).
    Orthogonal,
    /// Divided by their norm.
    Spectral,
    /// Not at all, with batch normalisation: the "AllNet" twin of paper 001.
    Unconstrained,
}

/// What stands at every place where stride and channels stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// 3x3 convolution, centering, activation.
    Plain,
    /// ½(x + f(x)), f the plain block.
    Averaged,
    /// αx + (1 − α)f(x), α learned, ½ at the start.
    Learned,
    /// (x + f(αx))/(1 + |α|), α learned, 1 at the start.
    Prescaled,
    /// One half of the channels through the plain block, then a 1x1 convolution mixes all.
    Concat,
    /// x − 2·Kᵀ relu(Kx + b), K orthogonal: a reflection of a half-space in every channel.
    Reflection,
    /// The same with K almost orthogonal by AOL (SLL).
    Sll,
    /// The same with K divided by its norm (CPL).
    Cpl,
    /// As plain with the exponential of a skew kernel.
    Soc,
    /// As plain with an AOL kernel.
    Aol,
}

impl Block {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Plain,
        Self::Averaged,
        Self::Learned,
        Self::Prescaled,
        Self::Concat,
        Self::Reflection,
        Self::Sll,
        Self::Cpl,
        Self::Soc,
        Self::Aol,
    ];

    /// Whether it brings a construction of its own, whatever [`Kernels`] says.
    fn own_kernel(self) -> bool {
        matches!(
            self,
            Self::Reflection | Self::Sll | Self::Cpl | Self::Soc | Self::Aol
        )
    }
}

/// The activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max and min of the two halves of the channels.
    #[serde(alias = "maxmin")]
    MaxMin,
    /// Neighbouring pairs sorted (GroupSort2).
    #[serde(alias = "groupsort")]
    GroupSort,
    /// A learned reflection of pairs.
    #[serde(alias = "householder")]
    HouseHolder,
    /// |x|.
    Abs,
    /// max(x, 0).
    Relu,
}

/// What is subtracted between convolution and activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Centering {
    /// The running mean of the channel.
    Batch,
    /// The mean of the channel over the image.
    Layer,
    /// Nothing; a bias is learned.
    None,
    /// Batch normalisation: only without a constraint.
    Norm,
}

/// The rows of the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Orthonormal.
    Orthonormal,
    /// Of norm 1 each: the joint constant is up to √K, class pairs are certified by w_y − w_j.
    UnitRows,
    /// Free: certified by w_y − w_j.
    Free,
}

/// Settings of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Architecture {
    /// The shape of the graph.
    pub family: Family,
    /// Width and depth.
    pub size: Size,
    /// Structure.
    pub preset: Preset,
    /// How kernels are constrained.
    pub kernels: Kernels,
    /// The repeated block; by default SLL with orthogonal kernels outside of `paper`, else plain.
    pub block: Option<Block>,
    /// The activation; by default MaxMin, ReLU without a constraint.
    pub activation: Option<Activation>,
    /// By default batch centering, batch normalisation without a constraint.
    pub centering: Option<Centering>,
    /// The last layer; free without a constraint.
    pub head: Option<Head>,
    /// How matrices are made orthonormal.
    pub orthogonaliser: Orthogonaliser,
    /// Number of classes, 2 to 255.
    pub classes: usize,
    /// Mean subtracted per colour, in [0, 1] units.
    pub mean: [f32; 3],
    /// Divisor per colour; its smallest multiplies the Lipschitz constant by its inverse.
    pub std: [f32; 3],
    /// Dilation of the ASPP branches; empty: from the preset and the training size.
    pub rates: Vec<usize>,
}

impl Default for Architecture {
    fn default() -> Self {
        Self {
            family: Family::Deeplab,
            size: Size::S,
            preset: Preset::Plain,
            kernels: Kernels::Orthogonal,
            block: None,
            activation: None,
            centering: None,
            head: None,
            orthogonaliser: Orthogonaliser::Bjorck,
            classes: 2,
            mean: [0.5; 3],
            std: [0.5; 3],
            rates: Vec::new(),
        }
    }
}

impl Architecture {
    /// Fills what follows from other fields, for pictures whose shorter side is `side`, and checks
    /// every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field, what it is and what it may be.
    pub fn resolve(mut self, side: usize) -> Result<Self> {
        let free = self.kernels == Kernels::Unconstrained;
        let (activation, centering, head) = match free {
            false => (Activation::MaxMin, Centering::Batch, Head::Orthonormal),
            true => (Activation::Relu, Centering::Norm, Head::Free),
        };
        let block = match (self.kernels, self.preset) {
            (Kernels::Orthogonal, Preset::Plain) => Block::Sll,
            _ => Block::Plain,
        };
        self.block.get_or_insert(block);
        self.activation.get_or_insert(activation);
        self.centering.get_or_insert(centering);
        self.head.get_or_insert(head);
        if self.rates.is_empty() && self.family == Family::Deeplab {
            let feature = self.feature_side(side);
            let eighths = |n: usize| (n * feature / 8).max(1);
            self.rates = match self.preset {
                Preset::Plain => vec![eighths(1), eighths(2), eighths(3)],
                Preset::Paper => vec![6, 12, 18],
            };
            self.rates.dedup();
        }
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        let wrong =
            |field: &str, got: String, expected: &str| Err(Error::setting(field, got, expected));
        if !(2..=255).contains(&self.classes) {
            return wrong("classes", self.classes.to_string(), "2 to 255");
        }
        if !self.mean.iter().all(|m| m.is_finite()) {
            return wrong("mean", format!("{:?}", self.mean), "three finite numbers");
        }
        let positive = |s: &f32| (f32::MIN_POSITIVE..f32::INFINITY).contains(s);
        if !self.std.iter().all(positive) {
            return wrong("std", format!("{:?}", self.std), "three positive numbers");
        }
        let distinct: BTreeSet<_> = self.rates.iter().collect();
        let usable = self.rates.iter().all(|rate| (1..=4096).contains(rate));
        if !usable || distinct.len() != self.rates.len() {
            let got = format!("{:?}", self.rates);
            return wrong("rates", got, "different dilations of 1 to 4096");
        }
        let free = self.kernels == Kernels::Unconstrained;
        let block = self.block.unwrap_or(Block::Plain);
        if self.kernels != Kernels::Orthogonal && block.own_kernel() {
            let expected = "plain, averaged, learned, prescaled or concat with these kernels: it has a constraint of its own";
            return wrong("block", format!("{block:?}").to_lowercase(), expected);
        }
        if self.family != Family::Deeplab && !self.rates.is_empty() {
            let expected = "none: only deeplab has an ASPP";
            return wrong("rates", format!("{:?}", self.rates), expected);
        }
        if self.orthogonaliser != Orthogonaliser::default() && !self.orthogonalises() {
            let expected = "left out: nothing is orthogonalised with these kernels and this head";
            return wrong(
                "orthogonaliser",
                format!("{:?}", self.orthogonaliser),
                expected,
            );
        }
        if !free && self.centering == Some(Centering::Norm) {
            let expected = "batch, layer or none: batch normalisation has no Lipschitz constant";
            return wrong("centering", "norm".into(), expected);
        }
        if free && self.preset == Preset::Paper && self.centering == Some(Centering::Norm) {
            let expected = "plain, or a centering of batch, layer or none: batch normalisation is folded into the convolution before it";
            return wrong("preset", "paper".into(), expected);
        }
        Ok(())
    }

    /// Whether any kernel is made by the orthogonaliser.
    fn orthogonalises(&self) -> bool {
        let nodes = self.nodes();
        let mut convs = convolutions(&nodes).into_iter();
        convs.any(|conv| matches!(conv.construction, Construction::Aoc(_)))
    }

    /// What should be known before a training with pictures whose shorter side is `side`.
    pub fn warnings(&self, side: usize) -> Vec<String> {
        let feature = self.feature_side(side);
        let beyond: Vec<_> = self.rates.iter().filter(|&&rate| rate >= feature).collect();
        let mut warnings = Vec::new();
        if self.family == Family::Deeplab && !beyond.is_empty() {
            warnings.push(format!(
                "ASPP rates {beyond:?} reach beyond the {feature}x{feature} feature map: only the centre tap of their kernels acts"
            ));
        }
        if self.kernels == Kernels::Unconstrained {
            warnings.push("without a constraint on the kernels certificates will be empty".into());
        }
        warnings
    }

    /// Side of the coarsest map.
    fn feature_side(&self, side: usize) -> usize {
        side >> self.widths().len()
    }

    /// Channels per encoder stage.
    pub fn widths(&self) -> &'static [usize] {
        match self.size {
            Size::Xs => &[16, 32, 64],
            Size::S => &[32, 64, 128],
            Size::M1 => &[64, 128, 256],
            Size::M2 | Size::L => &[64, 128, 256, 512],
            Size::Xl => &[128, 256, 512, 1024, 2048],
        }
    }

    /// Convolutions per encoder stage, the strided one included.
    pub(crate) fn repeats(&self) -> usize {
        match self.size {
            Size::Xs => 2,
            Size::S => 3,
            Size::M1 | Size::M2 | Size::Xl => 5,
            Size::L => 7,
        }
    }

    /// The node list; call [`Architecture::resolve`] first.
    pub fn nodes(&self) -> Vec<Node> {
        let mut nodes = vec![Node::Normalize {
            mean: self.mean.to_vec(),
            std: self.std.to_vec(),
        }];
        nodes.extend(match self.family {
            Family::Deeplab => deeplab::nodes(self),
            Family::Fcn => fcn::nodes(self, false),
            Family::FcnSkips => fcn::nodes(self, true),
            Family::Unet => unet::nodes(self, true),
            Family::UnetClassic => unet::nodes(self, false),
        });
        nodes
    }

    /// One encoder stage: a strided unit and `repeats` − 1 blocks.
    pub(crate) fn stage(&self, stage: usize, input: usize, width: usize) -> Vec<Node> {
        let down = Conv {
            stride: 2,
            ..self.conv(format!("encoder.{stage}.0"), input, width, 3)
        };
        let mut nodes = self.unit(down);
        for repeat in 1..self.repeats() {
            nodes.extend(self.block(&format!("encoder.{stage}.{repeat}"), width));
        }
        nodes
    }

    /// A 2x2 transposed convolution of stride 2 with its unit.
    pub(crate) fn up(&self, name: String, input: usize, out: usize) -> Vec<Node> {
        let conv = Conv {
            stride: 2,
            padding: 0,
            wrap: Wrap::Zeros,
            transposed: true,
            ..self.conv(name, input, out, 2)
        };
        let scale = self.rms(out, input);
        self.unit(Conv { scale, ..conv })
    }

    /// The scores: a 1x1 convolution to the classes.
    pub(crate) fn scores(&self, name: String, input: usize) -> Node {
        let construction = match self.head {
            Some(Head::UnitRows) => Construction::UnitRows,
            Some(Head::Free) => Construction::Free,
            Some(Head::Orthonormal) | None => Construction::Aoc(self.orthogonaliser),
        };
        Node::Conv(Conv {
            bias: true,
            construction,
            ..self.conv(name, input, self.classes, 1)
        })
    }

    /// The repeated block on maps of `channels`.
    pub(crate) fn block(&self, name: &str, channels: usize) -> Vec<Node> {
        let unit = |channels| self.unit(self.conv(name.into(), channels, channels, 3));
        let made_by = |construction, kernel| Conv {
            construction,
            ..self.conv(name.into(), channels, channels, kernel)
        };
        let residual = |construction| {
            let conv = Conv {
                bias: true,
                construction,
                ..Conv::same(name, channels, channels, 3)
            };
            vec![Node::Residual(conv)]
        };
        let merge = format!("{name}.merge");
        let sum = |mix| Node::Sum {
            name: merge.clone(),
            branches: vec![Vec::new(), unit(channels)],
            mix,
        };
        match self.block.unwrap_or(Block::Plain) {
            Block::Plain => unit(channels),
            Block::Averaged => vec![sum(Mix::Even)],
            Block::Learned => vec![sum(Mix::Learned)],
            Block::Prescaled => vec![Node::Prescaled {
                name: merge,
                branch: unit(channels),
            }],
            Block::Concat => {
                let half = channels / 2;
                let part = |nodes| Part {
                    channels: half,
                    nodes,
                };
                let parts = vec![part(Vec::new()), part(unit(half))];
                let mix = self.conv(format!("{name}.mixed"), channels, channels, 1);
                vec![Node::Split { parts }, Node::Conv(mix)]
            }
            Block::Reflection => residual(Construction::Aoc(self.orthogonaliser)),
            Block::Sll => residual(Construction::Aol),
            Block::Cpl => residual(Construction::Spectral),
            Block::Soc => self.unit(made_by(
                Construction::Soc { terms: SOC_TERMS },
                1 + 2 * SOC_TERMS,
            )),
            Block::Aol => self.unit(made_by(Construction::Aol, 3)),
        }
    }

    /// Convolution, centering and activation in the order of the preset.
    pub(crate) fn unit(&self, conv: Conv) -> Vec<Node> {
        let (name, channels) = (conv.name.clone(), conv.out);
        let center = match self.centering {
            Some(Centering::Layer) => Node::Center {
                name: name.clone(),
                channels,
            },
            Some(Centering::Norm) => Node::BatchNorm {
                name: name.clone(),
                channels,
            },
            Some(Centering::Batch | Centering::None) | None => Node::Shift {
                name: name.clone(),
                channels,
            },
        };
        let activation = self.activation(&name, channels);
        match (self.preset, self.centering) {
            (_, Some(Centering::None)) => {
                vec![Node::Conv(Conv { bias: true, ..conv }), activation]
            }
            (Preset::Plain, _) => vec![Node::Conv(conv), center, activation],
            (Preset::Paper, _) => vec![Node::Conv(conv), activation, center],
        }
    }

    /// The activation of maps of `channels`.
    pub(crate) fn activation(&self, name: &str, channels: usize) -> Node {
        match self.activation.unwrap_or(Activation::MaxMin) {
            Activation::MaxMin => Node::MaxMin,
            Activation::GroupSort => Node::GroupSort { size: 2 },
            Activation::HouseHolder => Node::HouseHolder {
                name: format!("{name}.activation"),
                channels,
            },
            Activation::Abs => Node::Abs,
            Activation::Relu => Node::Relu,
        }
    }

    fn construction(&self) -> Construction {
        match self.kernels {
            Kernels::Orthogonal => Construction::Aoc(self.orthogonaliser),
            Kernels::Spectral => Construction::Spectral,
            Kernels::Unconstrained => Construction::Free,
        }
    }

    /// A convolution of stride 1 that keeps the size.
    pub(crate) fn conv(&self, name: String, input: usize, out: usize, kernel: usize) -> Conv {
        Conv {
            wrap: match self.preset {
                Preset::Plain => Wrap::Zeros,
                Preset::Paper => Wrap::Circular,
            },
            scale: self.rms(input, out),
            construction: self.construction(),
            ..Conv::same(name, input, out, kernel)
        }
    }

    /// RMS scale √(to/from) of Yang et al. 2023, as the released code of paper 001 applies it.
    fn rms(&self, from: usize, to: usize) -> f32 {
        match self.preset {
            Preset::Plain => 1.0,
            Preset::Paper => (to as f64 / from as f64).sqrt() as f32,
        }
    }
}

/// Terms of the series of SOC blocks: kernels of side 7.
const SOC_TERMS: usize = 3;

#[cfg(test)]
mod tests;
