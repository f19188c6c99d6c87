//! Operations without weights of their own, on maps (batch, channels, height, width).

use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Tensor, TensorData};

use super::forward::on;
use super::{Pooling, Resampling, Spread, cpu};

/// Inside the root of l2 pooling: its derivative stays finite at 0.
pub(crate) const ROOT: f64 = 1e-12;

/// The mean over height and width, (B, C, 1, 1).
pub fn image_mean(x: Tensor<4>) -> Tensor<4> {
    x.mean_dims(&[2, 3])
}

/// The maximum over height and width at every pixel, times a factor.
pub fn image_max(x: Tensor<4>, spread: Spread) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let pixels = height * width;
    let most = x.reshape([batch, channels, pixels]).max_dim(2);
    let most = most.mul_scalar(spread.factor(pixels));
    most.repeat_dim(2, pixels)
        .reshape([batch, channels, height, width])
}

/// x plus one value per channel, (1, C, 1, 1).
pub fn add_channels(x: Tensor<4>, values: Tensor<4>) -> Tensor<4> {
    match cpu::takes(&x) {
        true => cpu::add_channels(x, values),
        false => x + values,
    }
}

/// Mean over maps and pixels, (1, C, 1, 1), as running statistics read it: without a gradient.
pub fn channel_means(x: Tensor<4>) -> Tensor<4> {
    match cpu::takes(&x) {
        true => cpu::channel_means(x),
        false => x.detach().mean_dims(&[0, 2, 3]),
    }
}

/// [max; min] of the two halves of the channels.
pub fn max_min(x: Tensor<4>) -> Tensor<4> {
    if cpu::takes(&x) {
        return cpu::max_min(x);
    }
    let [_, channels, _, _] = x.dims();
    let half = channels / 2;
    let a = x.clone().narrow(1, 0, half);
    let b = x.narrow(1, half, half);
    Tensor::cat(vec![a.clone().max_pair(b.clone()), a.min_pair(b)], 1)
}

/// Neighbouring channels sorted upwards in groups of `size`.
pub fn group_sort(x: Tensor<4>, size: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let groups = x.reshape([batch, channels / size, size, height, width]);
    let sorted = match size {
        2 => {
            let (a, b) = (groups.clone().narrow(2, 0, 1), groups.narrow(2, 1, 1));
            Tensor::cat(vec![a.clone().min_pair(b.clone()), a.max_pair(b)], 2)
        }
        _ => groups.sort(2),
    };
    sorted.reshape([batch, channels, height, width])
}

/// x − 2·relu(n·x)·n on the pairs (c, c + C/2); `normals` is (1, C, 1, 1).
pub fn householder(x: Tensor<4>, normals: Tensor<4>) -> Tensor<4> {
    let [_, channels, _, _] = x.dims();
    let half = channels / 2;
    let halves = |t: Tensor<4>| (t.clone().narrow(1, 0, half), t.narrow(1, half, half));
    let ((a, b), (n, m)) = (halves(x), halves(normals));
    let inside = relu(a.clone() * n.clone() + b.clone() * m.clone()).mul_scalar(2.0);
    Tensor::cat(vec![a - inside.clone() * n, b - inside * m], 1)
}

/// Pooling without padding; a rest that fills no window is dropped.
pub fn pool(x: Tensor<4>, kind: Pooling, size: usize, stride: usize) -> Tensor<4> {
    let average = |x| {
        let mut options = AvgPoolOptions::new([size; 2]);
        options.stride = [stride; 2];
        avg_pool2d(x, options)
    };
    let side = size as f64;
    match kind {
        Pooling::Average => average(x).mul_scalar(side),
        Pooling::L2 => {
            let squares = average(x.square()).mul_scalar(side * side);
            squares.add_scalar(ROOT).sqrt()
        }
        Pooling::Max => {
            let mut options = MaxPoolOptions::new([size; 2]);
            options.stride = [stride; 2];
            max_pool2d(x, options)
        }
    }
}

/// (B, C·f², H, W) to (B, C, H·f, W·f): channel c·f² + dy·f + dx goes to the place (dy, dx).
pub fn shuffle(x: Tensor<4>, f: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let out = channels / (f * f);
    x.reshape([batch, out, f, f, height, width])
        .permute([0, 1, 4, 2, 5, 3])
        .reshape([batch, out, height * f, width * f])
}

/// The inverse of [`shuffle`].
pub fn unshuffle(x: Tensor<4>, f: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height / f, f, width / f, f])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([batch, channels * f * f, height / f, width / f])
}

/// Enlargement by `f`, divided by `f`.
pub fn upsample(x: Tensor<4>, kind: Resampling, f: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let enlarged = match kind {
        Resampling::Nearest => x
            .reshape([batch, channels, height, 1, width, 1])
            .repeat_dim(3, f)
            .repeat_dim(5, f)
            .reshape([batch, channels, height * f, width * f]),
        Resampling::Bilinear => {
            let rows = linear(&x, height, f);
            let columns = linear(&x, width, f);
            rows.matmul(x).matmul(columns.transpose())
        }
    };
    enlarged.div_scalar(f as f64)
}

/// The (1, 1, side·f, side) matrix of linear interpolation, like `x` in precision and device.
fn linear(x: &Tensor<4>, side: usize, f: usize) -> Tensor<4> {
    let mut matrix = vec![0.0f64; side * f * side];
    for (at, row) in matrix.chunks_exact_mut(side).enumerate() {
        // centre of the new pixel in old pixels, clamped to the outermost centres
        // in units of 1/(2f), exact
        let place = (2 * at + 1).saturating_sub(f).min(2 * f * (side - 1));
        let below = place / (2 * f);
        let share = (place % (2 * f)) as f64 / (2 * f) as f64;
        row[below] += 1.0 - share;
        row[(below + 1).min(side - 1)] += share;
    }
    let data = TensorData::new(matrix, [1, 1, side * f, side]);
    Tensor::from_data(data, on(&x.device(), x.dtype()))
}

/// Circular padding by `padding` rows and columns on every side.
pub fn wrap(x: Tensor<4>, padding: usize) -> Tensor<4> {
    if padding == 0 {
        return x;
    }
    [2, 3].into_iter().fold(x, |x, axis| {
        let side = x.dims()[axis];
        let last = x.clone().narrow(axis, side - padding, padding);
        let first = x.clone().narrow(axis, 0, padding);
        Tensor::cat(vec![last, x, first], axis)
    })
}
