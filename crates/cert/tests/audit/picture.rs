//! Layers on small maps by their definitions, in f64.

use certiseg_cert::{Conv, Wrap};

use crate::dense::{Random, Setup, dot};

/// Numbers (channel, row, column).
#[derive(Clone)]
pub struct Picture {
    pub shape: [usize; 3],
    pub data: Vec<f64>,
}

impl Picture {
    pub fn random(shape: [usize; 3], random: &mut Random) -> Self {
        let data = random.vector(shape.iter().product());
        Picture { shape, data }
    }

    /// The numbers value(channel, row, column).
    pub fn of(shape: [usize; 3], mut value: impl FnMut(usize, usize, usize) -> f64) -> Self {
        let [channels, height, width] = shape;
        let mut data = Vec::new();
        for (c, y) in (0..channels).flat_map(|c| (0..height).map(move |y| (c, y))) {
            data.extend((0..width).map(|x| value(c, y, x)));
        }
        Picture { shape, data }
    }

    pub fn at(&self, c: usize, y: usize, x: usize) -> f64 {
        self.data[(c * self.shape[1] + y) * self.shape[2] + x]
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        let data = self.data.iter().map(|&v| f(v)).collect();
        Picture { data, ..*self }
    }

    /// self + factor · other.
    pub fn plus(&self, factor: f64, other: &Picture) -> Self {
        assert_eq!(self.shape, other.shape);
        let sums = self.data.iter().zip(&other.data);
        let data = sums.map(|(a, b)| a + factor * b).collect();
        Picture { data, ..*self }
    }

    pub fn norm(&self) -> f64 {
        dot(&self.data, &self.data).sqrt()
    }

    /// Channels from..to.
    pub fn channels(&self, from: usize, to: usize) -> Self {
        let [_, height, width] = self.shape;
        let area = height * width;
        let data = self.data[from * area..to * area].to_vec();
        let shape = [to - from, height, width];
        Picture { shape, data }
    }

    pub fn stacked(&self, other: &Picture) -> Self {
        let [channels, height, width] = self.shape;
        Picture {
            shape: [channels + other.shape[0], height, width],
            data: [&self.data[..], &other.data].concat(),
        }
    }

    /// The mean of each channel at each of its pixels.
    pub fn mean(&self) -> Self {
        let [_, height, width] = self.shape;
        let area = height * width;
        Self::of(self.shape, |c, _, _| {
            self.data[c * area..][..area].iter().sum::<f64>() / area as f64
        })
    }

    /// Each pixel's channels in groups, each changed in place.
    pub fn by_groups(&self, groups: &[Vec<usize>], change: impl Fn(usize, &mut [f64])) -> Self {
        let [_, height, width] = self.shape;
        let mut out = self.clone();
        for (pixel, (index, group)) in
            (0..height * width).flat_map(|p| groups.iter().enumerate().map(move |g| (p, g)))
        {
            let place = |&c: &usize| c * height * width + pixel;
            let mut values: Vec<f64> = group.iter().map(|c| self.data[place(c)]).collect();
            change(index, &mut values);
            for (c, value) in group.iter().zip(values) {
                out.data[place(c)] = value;
            }
        }
        out
    }

    /// value(window) of each window without padding.
    pub fn pooled(&self, size: usize, stride: usize, value: impl Fn(&[f64]) -> f64) -> Self {
        let [channels, height, width] = self.shape;
        let [rows, columns] = [height, width].map(|side| (side - size) / stride + 1);
        Self::of([channels, rows, columns], |c, y, x| {
            let window = (0..size * size)
                .map(|n| self.at(c, y * stride + n / size, x * stride + n % size))
                .collect::<Vec<_>>();
            value(&window)
        })
    }

    /// Depth to space: channel c·f^2 + i·f + j goes to row i and column j of its block.
    pub fn shuffled(&self, f: usize) -> Self {
        let [channels, height, width] = self.shape;
        Self::of([channels / (f * f), height * f, width * f], |c, y, x| {
            self.at((c * f + y % f) * f + x % f, y / f, x / f)
        })
    }

    /// Space to depth.
    pub fn unshuffled(&self, f: usize) -> Self {
        let [channels, height, width] = self.shape;
        Self::of([channels * f * f, height / f, width / f], |c, y, x| {
            self.at(c / (f * f), y * f + c / f % f, x * f + c % f)
        })
    }

    /// f times larger: nearest, or bilinear with half-pixel centres and a clamped border.
    pub fn enlarged(&self, f: usize, bilinear: bool) -> Self {
        let [channels, height, width] = self.shape;
        // two rows (columns) of the input and the weight of the second
        let place = |to: usize, side: usize| {
            let at = ((to as f64 + 0.5) / f as f64 - 0.5).clamp(0.0, (side - 1) as f64);
            let low = at.floor() as usize;
            match bilinear {
                true => (low, (low + 1).min(side - 1), at - low as f64),
                false => (to / f, to / f, 0.0),
            }
        };
        Self::of([channels, height * f, width * f], |c, y, x| {
            let ((top, bottom, down), (left, right, along)) = (place(y, height), place(x, width));
            let row = |y| self.at(c, y, left) * (1.0 - along) + self.at(c, y, right) * along;
            row(top) * (1.0 - down) + row(bottom) * down
        })
    }
}

/// The dense matrix of a convolution of stride 1 that keeps a square map, with zeros around.
pub fn matrix(conv: Conv, padding: usize, size: usize) -> Vec<Vec<f64>> {
    let wrap = Wrap::Zeros;
    Setup {
        conv,
        padding,
        wrap,
        size,
    }
    .dense()
}

/// matrix · x, of another number of channels.
pub fn times(matrix: &[Vec<f64>], x: &Picture) -> Picture {
    let [_, height, width] = x.shape;
    Picture {
        shape: [matrix.len() / (height * width), height, width],
        data: matrix.iter().map(|row| dot(row, &x.data)).collect(),
    }
}

/// matrix^T · x.
pub fn adjoint_times(matrix: &[Vec<f64>], x: &Picture) -> Picture {
    let [_, height, width] = x.shape;
    let mut data = vec![0.0; matrix[0].len()];
    for (row, v) in matrix.iter().zip(&x.data) {
        data.iter_mut().zip(row).for_each(|(sum, a)| *sum += a * v);
    }
    Picture {
        shape: [data.len() / (height * width), height, width],
        data,
    }
}
