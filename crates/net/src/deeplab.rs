//! The DeepLabV3-like network of paper 001 (appendices D and F).
//!
//! Encoder: per stage a 3x3 convolution with stride 2 and `repeats` − 1 with stride 1. ASPP: a 1x1
//! and three dilated 3x3 branches, concatenated, then 1x1. Decoder: 3x3, then per stage a 2x2
//! transposed convolution with stride 2 that halves the channels. Head: 1x1 with bias.
//! No additive residual: averaged ones lose the Lipschitz budget (measured 50 times).
//!
//! | | `plain` (default) | `paper` (the released structure) |
//! |---|---|---|
//! | padding | zeros | circular, zeros in the ASPP |
//! | order | convolution, centering, MaxMin: centering folds into a bias | convolution, MaxMin, centering |
//! | scale per convolution | 1 | RMS: √(out/in), transposed √(in/out) |
//! | ASPP rates | h/8, h/4, 3h/8 of the feature size h | 6, 12, 18 |

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::node::{Conv, Node, Wrap, convolutions, walk};

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

/// Settings of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeepLab {
    /// Width and depth.
    pub size: Size,
    /// Structure.
    pub preset: Preset,
    /// Number of classes, 2 to 255.
    pub classes: usize,
    /// Mean subtracted per colour, in [0, 1] units.
    pub mean: [f32; 3],
    /// Divisor per colour; its smallest multiplies the Lipschitz constant by its inverse.
    pub std: [f32; 3],
    /// Dilation of the three ASPP branches; empty: from the preset and the training size.
    pub rates: Vec<usize>,
}

impl Default for DeepLab {
    fn default() -> Self {
        Self {
            size: Size::S,
            preset: Preset::Plain,
            classes: 2,
            mean: [0.5; 3],
            std: [0.5; 3],
            rates: Vec::new(),
        }
    }
}

impl DeepLab {
    /// Fills `rates` for pictures whose shorter side is `side`, and checks every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field, what it is and what it may be.
    pub fn resolve(mut self, side: usize) -> Result<Self> {
        if self.rates.is_empty() {
            let feature = side >> self.widths().len();
            let eighths = |n: usize| (n * feature / 8).max(1);
            self.rates = match self.preset {
                Preset::Plain => vec![eighths(1), eighths(2), eighths(3)],
                Preset::Paper => vec![6, 12, 18],
            };
            if self.preset == Preset::Plain {
                self.rates.dedup();
            }
        }
        if !(2..=255).contains(&self.classes) {
            let got = self.classes.to_string();
            return Err(Error::setting("classes", got, "2 to 255"));
        }
        if !self.mean.iter().all(|m| m.is_finite()) {
            return Err(Error::setting(
                "mean",
                format!("{:?}", self.mean),
                "three finite numbers",
            ));
        }
        if !self
            .std
            .iter()
            .all(|s| (f32::MIN_POSITIVE..f32::INFINITY).contains(s))
        {
            return Err(Error::setting(
                "std",
                format!("{:?}", self.std),
                "three positive numbers",
            ));
        }
        let distinct: BTreeSet<_> = self.rates.iter().collect();
        let usable = self.rates.iter().all(|rate| (1..=4096).contains(rate));
        if !usable || distinct.len() != self.rates.len() {
            let got = format!("{:?}", self.rates);
            return Err(Error::setting(
                "rates",
                got,
                "different dilations of 1 to 4096",
            ));
        }
        Ok(self)
    }

    /// Channels per encoder stage.
    pub fn widths(&self) -> &'static [usize] {
        match self.size {
            Size::Xs => &[16, 32, 64],
            Size::S => &[32, 64, 128],
            Size::M1 => &[64, 128, 256],
            Size::M2 | Size::L => &[64, 128, 256, 512],
        }
    }

    /// Convolutions per encoder stage, the strided one included.
    fn repeats(&self) -> usize {
        match self.size {
            Size::Xs => 2,
            Size::S => 3,
            Size::M1 | Size::M2 => 5,
            Size::L => 7,
        }
    }

    /// The node list; call [`DeepLab::resolve`] first.
    pub fn nodes(&self) -> Vec<Node> {
        let mut nodes = vec![Node::Normalize {
            mean: self.mean.to_vec(),
            std: self.std.to_vec(),
        }];
        let mut channels = 3;
        for (stage, &width) in self.widths().iter().enumerate() {
            for repeat in 0..self.repeats() {
                let stride = if repeat == 0 { 2 } else { 1 };
                let name = format!("encoder.{stage}.{repeat}");
                let conv = Conv {
                    stride,
                    ..self.conv(name, channels, width, 3)
                };
                self.block(conv, &mut nodes);
                channels = width;
            }
        }
        nodes.push(self.aspp(channels));
        let branches = self.rates.len() + 1;
        self.block(
            self.conv("projection".into(), branches * channels, channels, 1),
            &mut nodes,
        );
        nodes.push(Node::Conv(self.conv(
            "decoder".into(),
            channels,
            channels,
            3,
        )));
        nodes.push(Node::MaxMin);
        for stage in 0..self.widths().len() {
            let conv = Conv {
                kernel: 2,
                stride: 2,
                padding: 0,
                wrap: Wrap::Zeros,
                transposed: true,
                ..self.conv(format!("up.{stage}"), channels, channels / 2, 2)
            };
            let scale = self.scale(conv.out, conv.input);
            self.block(Conv { scale, ..conv }, &mut nodes);
            channels /= 2;
        }
        let head = self.conv("head".into(), channels, self.classes, 1);
        nodes.push(Node::Conv(Conv { bias: true, ..head }));
        nodes
    }

    fn aspp(&self, channels: usize) -> Node {
        let branch = |name: &str, kernel: usize, rate: usize| {
            vec![Node::Conv(Conv {
                dilation: rate,
                padding: rate * (kernel / 2),
                wrap: Wrap::Zeros,
                ..self.conv(format!("aspp.{name}"), channels, channels, kernel)
            })]
        };
        let dilated = self
            .rates
            .iter()
            .map(|&rate| branch(&format!("rate{rate}"), 3, rate));
        let branches: Vec<_> = std::iter::once(branch("point", 1, 1))
            .chain(dilated)
            .collect();
        let scale = (1.0 / (branches.len() as f64).sqrt()) as f32;
        Node::Concat { branches, scale }
    }

    /// Convolution, centering and MaxMin in the order of the preset.
    fn block(&self, conv: Conv, nodes: &mut Vec<Node>) {
        let shift = Node::Shift {
            name: conv.name.clone(),
            channels: conv.out,
        };
        nodes.push(Node::Conv(conv));
        match self.preset {
            Preset::Plain => nodes.extend([shift, Node::MaxMin]),
            Preset::Paper => nodes.extend([Node::MaxMin, shift]),
        }
    }

    fn conv(&self, name: String, input: usize, out: usize, kernel: usize) -> Conv {
        Conv {
            name,
            input,
            out,
            kernel,
            stride: 1,
            dilation: 1,
            padding: kernel / 2,
            wrap: match self.preset {
                Preset::Plain => Wrap::Zeros,
                Preset::Paper => Wrap::Circular,
            },
            transposed: false,
            bias: false,
            scale: self.scale(input, out),
        }
    }

    /// RMS scale √(to/from) of Yang et al. 2023, as the released code of paper 001 applies it.
    fn scale(&self, from: usize, to: usize) -> f32 {
        match self.preset {
            Preset::Plain => 1.0,
            Preset::Paper => (to as f64 / from as f64).sqrt() as f32,
        }
    }
}

/// Number of raw parameters: those of the kernels, head bias and centering biases.
pub fn parameters(nodes: &[Node]) -> usize {
    let kernels = convolutions(nodes).into_iter().map(|conv| {
        let bias = if conv.bias { conv.out } else { 0 };
        conv.aoc().raw_len() + bias
    });
    let mut shifts = 0;
    walk(nodes, &mut |node| {
        if let Node::Shift { channels, .. } = node {
            shifts += channels;
        }
    });
    kernels.sum::<usize>() + shifts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(size: Size, preset: Preset) -> DeepLab {
        DeepLab {
            size,
            preset,
            classes: 3,
            rates: vec![6, 12, 18],
            ..DeepLab::default()
        }
    }

    #[test]
    fn sizes_and_parameter_counts_are_those_of_the_released_networks() {
        let expected = [
            (Size::S, 19, 503_875),
            (Size::M1, 25, 2_530_563),
            (Size::M2, 31, 10_201_347),
            (Size::L, 39, 12_292_227),
        ];
        for (size, convs, count) in expected {
            for preset in [Preset::Plain, Preset::Paper] {
                let nodes = settings(size, preset).resolve(128).unwrap().nodes();
                assert_eq!(convolutions(&nodes).len(), convs, "{size:?}");
                assert_eq!(parameters(&nodes), count, "{size:?}");
            }
        }
    }

    #[test]
    fn every_kernel_has_a_construction() {
        for size in [Size::Xs, Size::S, Size::M1, Size::M2, Size::L] {
            let nodes = settings(size, Preset::Plain).resolve(128).unwrap().nodes();
            for conv in convolutions(&nodes) {
                conv.aoc().check().unwrap();
            }
        }
    }

    #[test]
    fn rates_come_from_the_feature_size_without_repetition() {
        let rates = |side| DeepLab::default().resolve(side).unwrap().rates;
        assert_eq!(rates(128), [2, 4, 6]);
        assert_eq!(rates(256), [4, 8, 12]);
        assert_eq!(rates(32), [1]);
    }

    #[test]
    fn each_bad_field_is_named() {
        let bad = |settings: DeepLab| settings.resolve(128).unwrap_err().to_string();
        let base = DeepLab::default;
        assert!(
            bad(DeepLab {
                classes: 1,
                ..base()
            })
            .contains("classes")
        );
        assert!(
            bad(DeepLab {
                classes: 256,
                ..base()
            })
            .contains("classes")
        );
        assert!(
            bad(DeepLab {
                std: [0.5, 0.0, 0.5],
                ..base()
            })
            .contains("std")
        );
        assert!(
            bad(DeepLab {
                std: [f32::NAN; 3],
                ..base()
            })
            .contains("std")
        );
        assert!(
            bad(DeepLab {
                mean: [f32::INFINITY; 3],
                ..base()
            })
            .contains("mean")
        );
        assert!(
            bad(DeepLab {
                rates: vec![0],
                ..base()
            })
            .contains("rates")
        );
    }
}
