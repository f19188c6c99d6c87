//! A small PointNet that reads coordinates only, as a list of [`Node`]s: a cloud is a picture of one row and
//! three channels, a layer that treats every point alike a 1x1 convolution. So training, baking, audit,
//! passes, files and export are those of pictures.
//!
//! Layers on each point, a maximum over all points, both concatenated, layers on each point. With orthogonal
//! layers and MaxMin it is √2-Lipschitz, jointly from all coordinates to all scores: concatenated are two
//! 1-Lipschitz maps, as the maximum, which every point gets, is divided by the root of the number of points
//! ([`Spread::Even`]; without that the constant is √(P + 1)).

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use certiseg_cert::{Grid, Image, Margins, Norm, Premises, margins};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Cloud, CloudModel};
use crate::data::hex;
use crate::error::{Error, Result};
use crate::infer::{Inference, Pool};
use crate::layer::orthogonal::Orthogonaliser;
use crate::network::{Certifier, Network};
use crate::node::{Construction, Conv, LARGEST, Node, Spread, check_nodes};

/// Settings of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmallPointNet {
    /// Parts of all categories, 2 to 253; 0, the default, is to be filled in from the data.
    pub parts: usize,
    /// Channels of the layers on each point.
    pub local: Vec<usize>,
    /// Channels of the maximum.
    pub global: usize,
    /// Channels of the layers after the concatenation.
    pub head: Vec<usize>,
    /// Orthogonal layers and MaxMin, instead of free ones, batch normalisation and ReLU.
    pub lipschitz: bool,
}

impl Default for SmallPointNet {
    fn default() -> Self {
        Self {
            parts: 0,
            local: vec![64, 128],
            global: 256,
            head: vec![128, 64],
            lipschitz: false,
        }
    }
}

/// Coordinates of a point.
const AXES: usize = 3;

impl SmallPointNet {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field; [`Error::Node`] for channels that do not fit: MaxMin wants even
    /// ones.
    pub fn check(&self) -> Result<()> {
        let refuse =
            |field: &str, got: String, expected: &str| Err(Error::setting(field, got, expected));
        if !(2..=253).contains(&self.parts) {
            return refuse("parts", self.parts.to_string(), "2 to 253");
        }
        for (field, widths) in [("local", &self.local), ("head", &self.head)] {
            if widths.is_empty() {
                return refuse(field, "empty".into(), "at least one width");
            }
        }
        check_nodes(&self.nodes())
    }

    /// The forward pass.
    pub fn nodes(&self) -> Vec<Node> {
        let (mut nodes, mut channels) = (Vec::new(), AXES);
        for (at, &width) in self.local.iter().enumerate() {
            nodes.extend(self.unit(format!("local.{at}"), channels, width));
            channels = width;
        }
        let mut global = self.unit("global".into(), channels, self.global);
        global.push(Node::ImageMax {
            spread: match self.lipschitz {
                true => Spread::Even,
                false => Spread::Full,
            },
        });
        nodes.push(Node::Concat {
            branches: vec![vec![], global],
            scale: 1.0,
        });
        channels += self.global;
        for (at, &width) in self.head.iter().enumerate() {
            nodes.extend(self.unit(format!("head.{at}"), channels, width));
            channels = width;
        }
        nodes.push(Node::Conv(Conv {
            bias: true,
            ..self.conv("scores".into(), channels, self.parts)
        }));
        nodes
    }

    fn conv(&self, name: String, input: usize, out: usize) -> Conv {
        Conv {
            construction: match self.lipschitz {
                true => Construction::Aoc(Orthogonaliser::Bjorck),
                false => Construction::Free,
            },
            ..Conv::same(name, input, out, 1)
        }
    }

    fn unit(&self, name: String, input: usize, channels: usize) -> Vec<Node> {
        let conv = Node::Conv(self.conv(name.clone(), input, channels));
        match self.lipschitz {
            true => vec![conv, Node::Shift { name, channels }, Node::MaxMin],
            false => vec![conv, Node::BatchNorm { name, channels }, Node::Relu],
        }
    }
}

/// A network of [`SmallPointNet`], or another whose pictures are clouds, ready to be smoothed and certified.
pub struct SmallModel {
    network: Network,
    identity: String,
    /// Of the last number of points: those of all sizes of a folder would fill the memory.
    last: Mutex<Option<(usize, Arc<Pool<f32>>)>>,
}

impl SmallModel {
    /// Any baked network that keeps the size of its maps.
    ///
    /// # Errors
    /// [`Error::Setting`] for more classes than labels.
    pub fn new(network: Network) -> Result<Self> {
        let classes = network.classes();
        if !(1..=253).contains(&classes) {
            return Err(Error::setting("classes", classes.to_string(), "1 to 253"));
        }
        let mut hash = Sha256::new();
        hash.update(format!("{:?}\n", network.nodes));
        for (name, values) in &network.tensors {
            hash.update(format!("{name} {}\n", values.len()));
            values.iter().for_each(|v| hash.update(v.to_le_bytes()));
        }
        Ok(Self {
            identity: hex(&hash.finalize()),
            network,
            last: Mutex::default(),
        })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Logits with their error and the audited constant, for clouds of so many points.
    ///
    /// # Errors
    /// Those of [`Network::certifier`].
    pub fn certifier(&self, points: usize) -> Result<Certifier> {
        self.network.certifier(1, points)
    }

    fn pass(&self, points: usize) -> Result<Arc<Pool<f32>>> {
        if !(1..=LARGEST).contains(&points) {
            let expected = format!("1 to {LARGEST} in a cloud for a network of nodes");
            return Err(Error::setting("points", points.to_string(), expected));
        }
        // a panic elsewhere leaves nothing half-made behind
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, pass)) if *of == points => Ok(pass.clone()),
            _ => {
                let pass = Arc::new(Pool::new(Inference::new(&self.network, 1, points)?));
                *last = Some((points, pass.clone()));
                Ok(pass)
            }
        }
    }
}

impl CloudModel for SmallModel {
    fn classes(&self) -> usize {
        self.network.classes()
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn samples_points(&self) -> bool {
        false
    }

    fn scores(
        &self,
        points: &[[f32; 3]],
        _normals: &[[f32; 3]],
        _category: u8,
        _start: usize,
    ) -> Result<Vec<f32>> {
        let (count, classes) = (points.len(), self.classes());
        self.pass(count)?.with(|pass| {
            let scores = pass.forward(&picture(points))?;
            let of_point = |point: usize| (0..classes).map(move |class| class * count + point);
            Ok((0..count).flat_map(of_point).map(|at| scores[at]).collect())
        })
    }
}

/// A cloud (P, 3) as a picture (3, 1, P).
pub fn picture(points: &[[f32; 3]]) -> Vec<f32> {
    let axis = |axis: usize| points.iter().map(move |point| point[axis]);
    (0..AXES).flat_map(axis).collect()
}

/// Logits of a cloud over the parts of its category, which are numbered from 0 here.
pub struct PartLogits {
    grid: Grid,
    values: Vec<f32>,
    labels: Vec<u8>,
    premises: Premises,
}

impl PartLogits {
    /// Of a cloud whose category has these parts, by a certifier of its number of points.
    ///
    /// # Errors
    /// [`Error::Setting`] for parts that the network does not have, [`Error::ImageLength`], [`Error::Cert`].
    pub fn new(certifier: &Certifier, cloud: &Cloud, parts: &Range<u8>) -> Result<Self> {
        let all = certifier.logits(&picture(&cloud.points))?;
        let count = all.grid.pixels();
        let range = usize::from(parts.start)..usize::from(parts.end);
        let Some(values) = all.values.get(range.start * count..range.end * count) else {
            let expected = format!("at most the {} of the network", all.grid.classes);
            return Err(Error::setting("parts", parts.end.to_string(), expected));
        };
        // a label of another category is out of range and refused
        let own = |label: &u8| label.checked_sub(parts.start).unwrap_or(u8::MAX);
        Ok(Self {
            grid: Grid::new(range.len(), 1, count)?,
            values: values.to_vec(),
            labels: cloud.labels.iter().map(own).collect(),
            premises: Premises::new(Norm::L2, certifier.lipschitz(), all.eta)?,
        })
    }

    /// Radii of the points, in l2 over all coordinates of the cloud together: what certificates are made of.
    ///
    /// # Errors
    /// Those of the judge.
    pub fn margins(&self) -> Result<Margins<'_>> {
        let image = Image::new(self.grid, &self.values, Some(&self.labels), None)?;
        Ok(margins(&image, &self.premises)?)
    }
}

#[cfg(test)]
mod tests;
