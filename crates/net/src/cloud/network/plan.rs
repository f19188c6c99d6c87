//! Which layers a network has, under the names that their weights have in the files of the usual PyTorch
//! programs (`state_dict` written by `safetensors.torch.save_file`).

use std::fmt;

use crate::error::{Error, Result};

/// A network for point clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PointNet++ with one radius a level (single-scale grouping).
    Ssg,
    /// PointNet++ with several radii a level (multi-scale grouping).
    Msg,
    /// PointNet with its two learned transformations (Qi, Su, Mo and Guibas, "PointNet: deep learning on
    /// point sets for 3D classification and segmentation", 2017).
    PointNet,
}

/// What its layers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The network.
    pub kind: Kind,
    /// 3: coordinates; 6: and normals.
    pub channels: usize,
    /// Categories of shapes: the network is told which.
    pub categories: usize,
    /// Parts of all categories.
    pub parts: usize,
}

/// A 1x1 convolution with bias, where it is followed by batch normalisation, and by ReLU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// NAME.weight and NAME.bias.
    pub name: String,
    /// NAME.weight, bias, running_mean and running_var of the normalisation.
    pub norm: Option<String>,
    pub input: usize,
    pub out: usize,
    pub relu: bool,
}

/// Layers, one after the other.
pub(super) type Block = Vec<Slot>;

/// Points around centres.
pub(super) struct Scale {
    pub radius: f64,
    /// Most points of a group.
    pub most: usize,
    pub widths: &'static [usize],
}

/// A set abstraction around sampled centres.
pub(super) struct Level {
    pub centres: usize,
    pub scales: &'static [Scale],
}

/// The coordinates, and the number of outputs, of what a PointNet++ passes up and down.
pub(super) struct Hierarchy {
    pub levels: [Level; 2],
    /// Of the abstraction of all that is left.
    pub top: &'static [usize],
    /// Of the propagations, from the coarsest.
    pub down: [&'static [usize]; 3],
    /// Whether features come before the coordinates relative to the centre.
    pub features_first: bool,
}

const fn scale(radius: f64, most: usize, widths: &'static [usize]) -> Scale {
    Scale {
        radius,
        most,
        widths,
    }
}

const SSG: Hierarchy = Hierarchy {
    levels: [
        Level {
            centres: 512,
            scales: &[scale(0.2, 32, &[64, 64, 128])],
        },
        Level {
            centres: 128,
            scales: &[scale(0.4, 64, &[128, 128, 256])],
        },
    ],
    top: &[256, 512, 1024],
    down: [&[256, 256], &[256, 128], &[128, 128, 128]],
    features_first: false,
};

const MSG: Hierarchy = Hierarchy {
    levels: [
        Level {
            centres: 512,
            scales: &[
                scale(0.1, 32, &[32, 32, 64]),
                scale(0.2, 64, &[64, 64, 128]),
                scale(0.4, 128, &[64, 96, 128]),
            ],
        },
        Level {
            centres: 128,
            scales: &[
                scale(0.4, 64, &[128, 128, 256]),
                scale(0.8, 128, &[128, 196, 256]),
            ],
        },
    ],
    top: &[256, 512, 1024],
    down: [&[256, 256], &[256, 128], &[128, 128]],
    features_first: true,
};

/// Coordinates of a point.
pub(super) const AXES: usize = 3;
/// Channels before the scores.
const HEAD: usize = 128;
/// Channels of the maps of PointNet that are kept for every point: of the layers 1 to 5.
const KEPT: [usize; 5] = [64, 128, 128, 512, 2048];

impl Kind {
    /// Every network.
    pub const ALL: [Self; 3] = [Self::Ssg, Self::Msg, Self::PointNet];

    /// Of a PointNet++.
    pub(super) fn hierarchy(self) -> Option<&'static Hierarchy> {
        match self {
            Self::Ssg => Some(&SSG),
            Self::Msg => Some(&MSG),
            Self::PointNet => None,
        }
    }

    /// The layer that reads the coordinates first.
    pub(super) fn first(self) -> &'static str {
        match self {
            Self::Ssg => "sa1.mlp_convs.0",
            Self::Msg => "sa1.conv_blocks.0.0",
            Self::PointNet => "stn.conv1",
        }
    }

    /// The layer that reads the category, and the channels beside it that do not depend on the settings.
    pub(super) fn told(self) -> (&'static str, usize) {
        match self {
            Self::Ssg | Self::Msg => ("fp1.mlp_convs.0", HEAD + AXES),
            Self::PointNet => ("convs1", KEPT[4] + KEPT.iter().sum::<usize>()),
        }
    }

    /// The layer of the scores.
    pub(super) fn last(self) -> &'static str {
        match self {
            Self::Ssg | Self::Msg => "conv2",
            Self::PointNet => "convs4",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ssg => "PointNet++ SSG",
            Self::Msg => "PointNet++ MSG",
            Self::PointNet => "PointNet",
        })
    }
}

impl Settings {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        let fields = [
            (
                "channels",
                self.channels,
                [3, 6].contains(&self.channels),
                "3 or 6",
            ),
            (
                "categories",
                self.categories,
                self.categories <= 256,
                "at most 256",
            ),
            (
                "parts",
                self.parts,
                (1..=253).contains(&self.parts),
                "1 to 253",
            ),
        ];
        match fields.into_iter().find(|(_, _, fits, _)| !fits) {
            Some((field, got, _, expected)) => {
                Err(Error::setting(field, got.to_string(), expected))
            }
            None => Ok(()),
        }
    }

    /// Weights, biases, gains and shifts: what a training changes.
    pub fn parameters(&self) -> usize {
        let blocks = self.blocks();
        let slots = blocks.iter().flatten();
        slots
            .map(|slot| slot.out * (slot.input + 1 + 2 * usize::from(slot.norm.is_some())))
            .sum()
    }

    /// All layers, in the order of the forward pass.
    pub(super) fn blocks(&self) -> Vec<Block> {
        match self.kind.hierarchy() {
            Some(hierarchy) => self.hierarchical(hierarchy),
            None => self.pointnet(),
        }
    }

    fn hierarchical(&self, hierarchy: &Hierarchy) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut made = vec![self.channels];
        for (at, level) in (1..).zip(&hierarchy.levels) {
            let input = made[made.len() - 1] + AXES;
            for (scale_at, scale) in level.scales.iter().enumerate() {
                let prefix = match hierarchy.features_first {
                    true => [
                        format!("sa{at}.conv_blocks.{scale_at}"),
                        format!("sa{at}.bn_blocks.{scale_at}"),
                    ],
                    false => [format!("sa{at}.mlp_convs"), format!("sa{at}.mlp_bns")],
                };
                blocks.push(mlp(prefix, input, scale.widths));
            }
            made.push(level.scales.iter().map(|scale| last(scale.widths)).sum());
        }
        let named = |name: &str| [format!("{name}.mlp_convs"), format!("{name}.mlp_bns")];
        blocks.push(mlp(named("sa3"), made[2] + AXES, hierarchy.top));
        let mut coarse = last(hierarchy.top);
        let told = self.categories + AXES + self.channels;
        for ((name, skip), widths) in ["fp3", "fp2", "fp1"]
            .into_iter()
            .zip([made[2], made[1], told])
            .zip(hierarchy.down)
        {
            blocks.push(mlp(named(name), skip + coarse, widths));
            coarse = last(widths);
        }
        let head = numbered("conv", "bn", 1, coarse, &[HEAD]);
        blocks.push(scored(head, "conv2", self.parts));
        blocks
    }

    fn pointnet(&self) -> Vec<Block> {
        let transformation = |name: &str, channels: usize, side: usize| {
            let local = numbered(
                &format!("{name}.conv"),
                &format!("{name}.bn"),
                1,
                channels,
                &[64, 128, 1024],
            );
            let mut global = Vec::new();
            for (at, input, out) in [(1, 1024, 512), (2, 512, 256)] {
                let norm = Some(format!("{name}.bn{}", at + 3));
                global.push(slot(format!("{name}.fc{at}"), norm, input, out, true));
            }
            [local, scored(global, &format!("{name}.fc3"), side * side)]
        };
        let [low, middle, third, fourth, top] = KEPT;
        let mut blocks = Vec::from(transformation("stn", self.channels, AXES));
        blocks.extend(
            numbered("conv", "bn", 1, self.channels, &[low, middle, third])
                .into_iter()
                .map(|slot| vec![slot]),
        );
        blocks.extend(transformation("fstn", third, third));
        let mut high = numbered("conv", "bn", 4, third, &[fourth, top]);
        // the maximum is taken of what may be negative
        high[1].relu = false;
        blocks.extend(high.into_iter().map(|slot| vec![slot]));
        let all = self.kind.told().1 + self.categories;
        let head = numbered("convs", "bns", 1, all, &[256, 256, HEAD]);
        blocks.push(scored(head, "convs4", self.parts));
        blocks
    }
}

fn slot(name: String, norm: Option<String>, input: usize, out: usize, relu: bool) -> Slot {
    Slot {
        name,
        norm,
        input,
        out,
        relu,
    }
}

fn last(widths: &[usize]) -> usize {
    widths[widths.len() - 1]
}

/// Layers CONV.0, CONV.1 and so on.
fn mlp([conv, norm]: [String; 2], mut input: usize, widths: &[usize]) -> Block {
    let mut block = Block::new();
    for (at, &out) in widths.iter().enumerate() {
        let norm = Some(format!("{norm}.{at}"));
        block.push(slot(format!("{conv}.{at}"), norm, input, out, true));
        input = out;
    }
    block
}

/// Layers CONV1, CONV2 and so on, from a number on.
fn numbered(conv: &str, norm: &str, first: usize, mut input: usize, widths: &[usize]) -> Block {
    let mut block = Block::new();
    for (at, &out) in (first..).zip(widths) {
        let norm = Some(format!("{norm}{at}"));
        block.push(slot(format!("{conv}{at}"), norm, input, out, true));
        input = out;
    }
    block
}

/// And a last layer without anything after it.
fn scored(mut block: Block, name: &str, out: usize) -> Block {
    let input = block[block.len() - 1].out;
    block.push(slot(name.to_owned(), None, input, out, false));
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_published_networks() {
        for (kind, plain, with_normals) in [
            (Kind::Ssg, 1_411_250, 1_411_826),
            (Kind::Msg, 1_740_958, 1_741_822),
            (Kind::PointNet, 8_342_395, 8_342_779),
        ] {
            let settings = |channels| Settings {
                kind,
                channels,
                categories: 16,
                parts: 50,
            };
            assert_eq!(settings(3).parameters(), plain, "{kind}");
            assert_eq!(
                settings(6).parameters(),
                with_normals,
                "{kind} with normals"
            );
        }
    }

    #[test]
    fn parameters_of_each_block() {
        let settings = |kind| Settings {
            kind,
            channels: 3,
            categories: 16,
            parts: 50,
        };
        let counts = |kind| -> Vec<usize> {
            let blocks = settings(kind).blocks().into_iter();
            let of = |block: Block| {
                block
                    .iter()
                    .map(|s| s.out * (s.input + 1 + 2 * usize::from(s.norm.is_some())))
                    .sum()
            };
            blocks.map(of).collect()
        };
        assert_eq!(
            counts(Kind::Ssg),
            [13_440, 67_456, 727_040, 394_752, 132_224, 53_120, 23_218]
        );
        let msg = counts(Kind::Msg);
        assert_eq!(
            [msg[..3].iter().sum::<usize>(), msg[3..5].iter().sum()],
            [36_768, 210_380]
        );
        assert_eq!(msg[5..], [792_576, 460_288, 181_376, 36_352, 23_218]);
    }

    #[test]
    fn settings_out_of_range() {
        let good = Settings {
            kind: Kind::Ssg,
            channels: 3,
            categories: 5,
            parts: 12,
        };
        assert!(good.check().is_ok());
        for bad in [
            Settings {
                channels: 4,
                ..good
            },
            Settings { parts: 0, ..good },
            Settings { parts: 254, ..good },
            Settings {
                categories: 257,
                ..good
            },
        ] {
            assert!(matches!(bad.check(), Err(Error::Setting { .. })), "{bad:?}");
        }
    }
}
