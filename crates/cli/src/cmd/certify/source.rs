//! Where the logits to certify come from, and what is vouched for them.

use std::time::Instant;

use anyhow::Result;
use certiseg_cert::{ClassHead, Image, Margins, Norm, Premises, margins, margins_with_head};
use certiseg_net::data::read_head;
use certiseg_net::network::Certifier;

use super::Certify;
use crate::fail::Usage;
use crate::logits::FileLogits;
use crate::source::{Item, Pictures, pixels};

/// Where logits come from.
pub enum Source {
    /// A model with pictures.
    Model {
        /// The pictures.
        pictures: Box<Pictures>,
        /// The model, audited.
        certifier: Box<Certifier>,
    },
    /// Logits of others.
    File {
        /// The logits.
        file: Box<FileLogits>,
        /// Their constant.
        lipschitz: f64,
        /// The last layer, where it is known.
        head: Option<ClassHead>,
        /// Bound of their error.
        eta: f64,
    },
}

impl Source {
    /// Opens what the flags name.
    pub fn open(args: &Certify) -> Result<Self> {
        let shard = args.run.shard.as_ref();
        if let Some(path) = &args.logits {
            let hint = "give --lipschitz L: the file does not say how fast its logits may change";
            let missing = || Usage::error("logits without a Lipschitz constant", hint);
            return Ok(Source::File {
                file: Box::new(FileLogits::open(path, args.data.ignore, shard)?),
                lipschitz: args.lipschitz.ok_or_else(missing)?,
                head: args.head.as_deref().map(read_head).transpose()?,
                eta: args.eta,
            });
        }
        let hint = "give --model FILE with --data DIR, or --logits FILE with --lipschitz L";
        let model = args.model.as_ref();
        let model = model.ok_or_else(|| Usage::error("nothing to certify", hint))?;
        let pictures = Pictures::open(model, &args.data, shard)?;
        let [height, width] = pictures.size;
        let certifier = pictures.model.network.certifier(height, width)?;
        Ok(Source::Model {
            certifier: Box::new(certifier),
            pictures: Box::new(pictures),
        })
    }

    /// The next image.
    pub fn next(&mut self) -> Result<Option<Item>> {
        match self {
            Source::Model {
                pictures,
                certifier,
                ..
            } => {
                let Some(sample) = pictures.next()? else {
                    return Ok(None);
                };
                let start = Instant::now();
                let logits = certifier.logits(&sample.image_f32())?;
                Ok(Some(Item {
                    id: sample.id,
                    grid: logits.grid,
                    logits: logits.values,
                    labels: sample.mask,
                    eta: logits.eta,
                    image: Some(sample.image),
                    seconds: start.elapsed().as_secs_f64(),
                }))
            }
            Source::File { file, eta, .. } => {
                let Some(item) = file.next()? else {
                    return Ok(None);
                };
                // conversion to f32 adds to what the user vouches for
                let eta = match item.eta > 0.0 {
                    true => (*eta + item.eta).next_up(),
                    false => *eta,
                };
                Ok(Some(Item { eta, ..item }))
            }
        }
    }

    /// Leaves the first images out: their rows are there.
    pub fn skip(&mut self, ids: &[String]) -> Result<()> {
        match self {
            Source::Model { pictures, .. } => pictures.skip(ids),
            Source::File { file, .. } => file.skip(ids),
        }
    }

    /// Images in all, those of other processes too.
    pub fn all(&self) -> usize {
        match self {
            Source::Model { pictures, .. } => pictures.all,
            Source::File { file, .. } => file.all(),
        }
    }

    /// Of the data, against accidents.
    pub fn data_hash(&self) -> String {
        match self {
            Source::Model { pictures, .. } => pictures.data_hash.clone(),
            Source::File { file, .. } => file.hash(),
        }
    }

    /// Images to certify.
    pub fn len(&self) -> usize {
        match self {
            Source::Model { pictures, .. } => pictures.len(),
            Source::File { file, .. } => file.len(),
        }
    }

    /// Whether every image has labels.
    pub fn labelled(&self) -> bool {
        match self {
            Source::Model { pictures, .. } => pictures.labelled(),
            Source::File { file, .. } => file.labelled(),
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        match self {
            Source::Model { pictures, .. } => pictures.model.network.classes(),
            Source::File { file, .. } => file.classes(),
        }
    }

    /// What certificates of logits with this error rest on, in the norm that was asked for.
    pub fn premises(&self, args: &Certify, eta: f64) -> Result<Premises> {
        let (mut premises, values) = match self {
            Source::Model {
                pictures,
                certifier,
            } => {
                let [height, width] = pictures.size;
                (certifier.premises(eta)?, 3 * height * width)
            }
            Source::File { lipschitz, .. } => match args.dimension {
                None => (Premises::new(args.norm, *lipschitz, eta)?, 1),
                Some(values) => (Premises::new(Norm::L2, *lipschitz, eta)?, values),
            },
        };
        if args.dimension.is_some() && args.norm == Norm::L2 {
            return Err(Usage::error(
                "--dimension with budgets in l2: nothing to convert",
                "name the norm of the budgets with --norm, or leave --dimension out",
            ));
        }
        premises.claim = args.claim;
        Ok(premises.in_norm(args.norm, values)?)
    }

    /// Margins under these premises.
    pub fn margins<'a>(&self, image: &Image<'a>, premises: &Premises) -> Result<Margins<'a>> {
        Ok(match self {
            Source::Model { certifier, .. } => certifier.margins(image, premises)?,
            Source::File {
                head: Some(head), ..
            } => margins_with_head(image, premises, head)?,
            Source::File { head: None, .. } => margins(image, premises)?,
        })
    }

    /// Where the constant comes from.
    pub fn lipschitz_source(&self) -> String {
        match self {
            Source::Model { certifier, .. } => certifier.lipschitz_source(),
            Source::File { head: Some(_), .. } => {
                "assumed, given by the caller; of the features, with the rows of the head".into()
            }
            Source::File { head: None, .. } => "assumed, given by the caller".into(),
        }
    }

    /// Where the error of logits comes from.
    pub fn eta_source(&self) -> &'static str {
        match self {
            Source::Model { .. } => Certifier::ETA_SOURCE,
            Source::File { .. } => "assumed, given by the caller",
        }
    }

    /// The tensor in which budgets are measured.
    pub fn unit(&self) -> String {
        match self {
            Source::Model { pictures, .. } => {
                let [height, width] = pictures.size;
                pixels(height, width)
            }
            Source::File { .. } => "the tensor to which the given constant refers".to_owned(),
        }
    }

    /// The pictures, where there are some.
    pub fn pictures(&self) -> Option<&Pictures> {
        match self {
            Source::Model { pictures, .. } => Some(pictures),
            Source::File { .. } => None,
        }
    }
}
