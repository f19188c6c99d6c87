//! Convolutions as dense matrices, their norms from below, and orthogonal kernels.

use certiseg_cert::{Conv, Layer, Wrap, audit, conv_bound};

/// Rounding of the searched norm: sums of at most 1000 terms of 1.1e-16 each, with room.
pub const ROUNDING: f64 = 1e-12;
/// Deterministic numbers in [-1, 1] (the splitmix64 sequence).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn vector(&mut self, length: usize) -> Vec<f64> {
        (0..length).map(|_| self.next()).collect()
    }

    pub fn kernel(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.next() as f32).collect()
    }
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Rows of an orthogonal matrix (Gram-Schmidt, twice).
pub fn orthogonal(rows: usize, columns: usize, random: &mut Random) -> Vec<Vec<f64>> {
    let mut matrix: Vec<Vec<f64>> = Vec::new();
    for _ in 0..rows {
        let mut row = random.vector(columns);
        for _ in 0..2 {
            for done in &matrix {
                let along = dot(&row, done);
                row.iter_mut().zip(done).for_each(|(v, d)| *v -= along * d);
            }
        }
        let length = dot(&row, &row).sqrt();
        matrix.push(row.into_iter().map(|v| v / length).collect());
    }
    matrix
}

/// A convolution on a square map of `size` pixels.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub conv: Conv<'a>,
    pub padding: usize,
    pub wrap: Wrap,
    pub size: usize,
}

impl Setup<'_> {
    pub fn out_size(&self) -> usize {
        let Conv {
            kernel_size,
            stride,
            dilation,
            transposed,
            ..
        } = self.conv;
        let extent = dilation * (kernel_size - 1) + 1;
        match transposed {
            true => (self.size - 1) * stride + extent - 2 * self.padding,
            false => (self.size + 2 * self.padding - extent) / stride + 1,
        }
    }

    /// The dense matrix, by the definition of torch.
    pub fn dense(&self) -> Vec<Vec<f64>> {
        let (size, out_size) = (self.size, self.out_size());
        let Conv {
            kernel,
            kernel_size: k,
            stride,
            dilation,
            transposed,
            ..
        } = self.conv;
        let [inputs, outputs] = [self.conv.in_channels, self.conv.out_channels]
            .map(|channels| channels / self.conv.groups);
        let mut matrix = vec![
            vec![0.0; self.conv.in_channels * size * size];
            self.conv.out_channels * out_size * out_size
        ];
        // (strided position) = stride · (other position) + dilation · tap - padding
        let place = |other: usize, tap: usize, limit: usize| {
            let at = (other * stride + dilation * tap) as i64 - self.padding as i64;
            match self.wrap {
                Wrap::Circular => Some(at.rem_euclid(limit as i64) as usize),
                Wrap::Zeros => usize::try_from(at).ok().filter(|&at| at < limit),
            }
        };
        let (few, many) = if transposed {
            (size, out_size)
        } else {
            (out_size, size)
        };
        for (group, o, i) in (0..self.conv.groups)
            .flat_map(|g| (0..outputs).flat_map(move |o| (0..inputs).map(move |i| (g, o, i))))
        {
            let (out, input) = (group * outputs + o, group * inputs + i);
            let block = if transposed {
                input * outputs + o
            } else {
                out * inputs + i
            };
            for (tap, few_pixel) in (0..k * k).flat_map(|t| (0..few * few).map(move |p| (t, p))) {
                let (Some(y), Some(x)) = (
                    place(few_pixel / few, tap / k, many),
                    place(few_pixel % few, tap % k, many),
                ) else {
                    continue;
                };
                let many_pixel = y * many + x;
                let (to, from) = if transposed {
                    (many_pixel, few_pixel)
                } else {
                    (few_pixel, many_pixel)
                };
                matrix[out * out_size * out_size + to][input * size * size + from] +=
                    f64::from(kernel[block * k * k + tap]);
            }
        }
        matrix
    }

    /// Largest singular value, from below.
    pub fn norm(&self) -> f64 {
        norm(&self.dense())
    }

    pub fn bound(&self) -> f64 {
        let found = audit(&[self.layer()], self.size, self.size)
            .unwrap()
            .lipschitz;
        let alone = conv_bound(&self.conv).unwrap().norm;
        assert!((alone..=alone * (1.0 + ROUNDING)).contains(&found));
        found
    }

    pub fn layer(&self) -> Layer<'_> {
        Layer::Conv {
            name: "test",
            conv: self.conv,
            padding: self.padding,
            wrap: self.wrap,
            scale: 1.0,
        }
    }
}

/// Largest singular value, from below.
pub fn norm(matrix: &[Vec<f64>]) -> f64 {
    strongest(matrix).0
}

/// Power iteration on A^T A from three starts: |A v| and a unit v.
pub fn strongest(matrix: &[Vec<f64>]) -> (f64, Vec<f64>) {
    let columns = matrix[0].len();
    let mut best = (0.0, vec![0.0; columns]);
    for start in 1..=3 {
        let mut v = Random(start).vector(columns);
        let mut last = 0.0;
        for _ in 0..3000 {
            let length = dot(&v, &v).sqrt();
            if length == 0.0 {
                break;
            }
            v.iter_mut().for_each(|v| *v /= length);
            let image: Vec<f64> = matrix.iter().map(|row| dot(row, &v)).collect();
            let found = dot(&image, &image).sqrt();
            if found > best.0 {
                best = (found, v.clone());
            }
            if (found - last).abs() <= 1e-10 * found {
                break;
            }
            last = found;
            v.fill(0.0);
            for (row, y) in matrix.iter().zip(&image) {
                v.iter_mut().zip(row).for_each(|(v, a)| *v += a * y);
            }
        }
    }
    best
}

/// `bound` is an upper bound of `truth` that exceeds it by at most `excess`.
pub fn above_and_close(bound: f64, truth: f64, excess: f64) -> Result<(), String> {
    if bound.is_finite() && (truth * (1.0 - ROUNDING)..=truth * (1.0 + excess)).contains(&bound) {
        Ok(())
    } else {
        Err(format!("{bound:e} is not just above {truth:e}"))
    }
}

/// A square convolution without groups.
pub fn plain(
    kernel: &[f32],
    [out_channels, in_channels]: [usize; 2],
    kernel_size: usize,
    stride: usize,
) -> Conv<'_> {
    Conv {
        kernel,
        out_channels,
        in_channels,
        groups: 1,
        kernel_size,
        stride,
        dilation: 1,
        transposed: false,
    }
}

/// k = s: one matrix per block of pixels.
pub fn rko(channels: [usize; 2], k: usize, random: &mut Random) -> Vec<f32> {
    let (rows, columns) = (channels[0], channels[1] * k * k);
    let matrix = match rows <= columns {
        true => orthogonal(rows, columns, random),
        false => {
            let adjoint = orthogonal(columns, rows, random);
            (0..rows)
                .map(|r| (0..columns).map(|c| adjoint[c][r]).collect())
                .collect()
        }
    };
    matrix.into_iter().flatten().map(|v| v as f32).collect()
}

/// [N_a N_b, N_a (I - N_b); (I - N_a) N_b, (I - N_a)(I - N_b)] of two projectors, 2 x 2.
pub fn bcop(channels: usize, random: &mut Random) -> Vec<f32> {
    let mut projector = || -> Vec<Vec<f64>> {
        let half = orthogonal(channels / 2, channels, random);
        let entry = |i: usize, j: usize| half.iter().map(|p| p[i] * p[j]).sum();
        (0..channels)
            .map(|i| (0..channels).map(|j| entry(i, j)).collect())
            .collect()
    };
    let (a, b) = (projector(), projector());
    let either = |n: &[Vec<f64>], i: usize, j: usize, rest: bool| match rest {
        true => f64::from(u8::from(i == j)) - n[i][j],
        false => n[i][j],
    };
    let mut kernel = vec![0.0; channels * channels * 4];
    for (index, value) in kernel.iter_mut().enumerate() {
        let (o, i, y, x) = (
            index / 4 / channels,
            index / 4 % channels,
            index / 2 % 2 == 1,
            index % 2 == 1,
        );
        *value = (0..channels)
            .map(|c| either(&a, o, c, y) * either(&b, c, i, x))
            .sum::<f64>() as f32;
    }
    kernel
}

/// A 2 x 2 kernel of projectors, then an orthogonal 2 x 2 one of stride 2: 3 x 3, stride 2, 4 to 8.
pub fn fused(random: &mut Random) -> Vec<f32> {
    let (first, second) = (bcop(4, random), rko([8, 4], 2, random));
    let mut kernel = vec![0.0f32; 8 * 4 * 9];
    for (index, value) in kernel.iter_mut().enumerate() {
        let (o, i, y, x) = (index / 36, index / 9 % 4, index / 3 % 3, index % 3);
        for (c, p) in (0..4).flat_map(|c| (0..4).map(move |p| (c, p))) {
            let (dy, dx) = (y.wrapping_sub(p / 2), x.wrapping_sub(p % 2));
            if dy < 2 && dx < 2 {
                *value += second[(o * 4 + c) * 4 + p] * first[(c * 4 + i) * 4 + dy * 2 + dx];
            }
        }
    }
    kernel
}
