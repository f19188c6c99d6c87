//! A network as attacks see it: on the CPU, with gradients in its input.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::model::{Model, Sparse};
use crate::error::{Error, Result};
use crate::network::{Network, OnDevice};
use crate::node::on;

/// Numbers of a picture and its copies that are pulled back at once.
const AT_ONCE: usize = 1 << 17;

/// A network prepared for gradients in its input, for pictures of one size.
pub struct Target {
    network: OnDevice,
    device: Device,
    classes: usize,
    size: [usize; 2],
}

impl Target {
    /// Puts the network on the CPU, for pictures of a height and width.
    pub fn new(network: &Network, size: [usize; 2]) -> Self {
        let device = Device::flex().autodiff();
        Self {
            classes: network.classes(),
            network: network.on_device(&device, DType::F32),
            device,
            size,
        }
    }

    fn weighted(&self, weights: Vec<f32>, shape: [usize; 4]) -> Tensor<4> {
        let data = TensorData::new(weights, shape);
        Tensor::from_data(data, on(&self.device, DType::F32))
    }
}

impl Model for Target {
    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&self, image: &[f32]) -> Result<Vec<f32>> {
        let [height, width] = self.size;
        values(
            self.network
                .forward(self.network.picture(image, height, width)?),
        )
    }

    fn pull(
        &self,
        image: &[f32],
        weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
    ) -> Result<(Vec<f32>, Vec<f64>)> {
        let [height, width] = self.size;
        let x = self.network.picture(image, height, width)?.require_grad();
        let logits = self.network.forward(x.clone());
        let found = values(logits.clone().detach())?;
        let narrow = weights(&found).iter().map(|&w| w as f32).collect();
        let weights = self.weighted(narrow, logits.dims());
        let mut gradients = (logits * weights).sum().backward();
        let gradient = match x.grad_remove(&mut gradients) {
            Some(gradient) => values(gradient)?.into_iter().map(f64::from).collect(),
            None => vec![0.0; image.len()],
        };
        Ok((found, gradient))
    }

    fn rows(&self, image: &[f32], sums: &[Sparse]) -> Result<Vec<Vec<f32>>> {
        let [height, width] = self.size;
        let picture = self.network.picture(image, height, width)?;
        let mut rows = Vec::with_capacity(sums.len());
        for sums in sums.chunks((AT_ONCE / image.len()).max(1)) {
            let copies = picture.clone().repeat_dim(0, sums.len()).require_grad();
            let logits = self.network.forward(copies.clone());
            let [_, classes, high, wide_] = logits.dims();
            let length = classes * high * wide_;
            let mut weights = vec![0.0; sums.len() * length];
            for (weights, sum) in weights.chunks_mut(length).zip(sums) {
                sum.iter()
                    .for_each(|&(at, weight)| weights[at] += weight as f32);
            }
            let weights = self.weighted(weights, logits.dims());
            let mut gradients = (logits * weights).sum().backward();
            match copies.grad_remove(&mut gradients) {
                Some(gradient) => {
                    rows.extend(values(gradient)?.chunks(image.len()).map(<[f32]>::to_vec));
                }
                None => rows.extend(sums.iter().map(|_| vec![0.0; image.len()])),
            }
        }
        Ok(rows)
    }
}

fn values(tensor: Tensor<4>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data().map_err(Error::device)?;
    data.convert::<f32>().try_into_vec().map_err(Error::device)
}
