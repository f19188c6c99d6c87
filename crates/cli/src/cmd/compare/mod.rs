//! `certiseg compare`: deterministic and smoothed certificates on the same network and images.
//!
//! The protocol is fair to both: the same pixels, abstentions as errors, sigma chosen for every method, eps and n on
//! images of another split, passes and times counted for both, smoothing in its strongest forms too.

mod row;
mod side;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use certiseg_cert::Norm;
use certiseg_cert::smoothing::{
    FloatingPoint, Law, MAX_SAMPLES, Procedure, Promise, Stage, image_mean,
};
use certiseg_net::smooth::{Arithmetic, Noise};
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::row::{Case, ImageRow, Method, Row, Shared, equals, tables};
use self::side::Side;
use crate::budgets;
use crate::cmd::bench::peak_memory;
use crate::cmd::smooth::CHOOSE;
use crate::fail::{STOPPED, Usage};
use crate::interrupt;
use crate::output::{Format, Rows, head, print_line};
use crate::progress::Progress;
use crate::source::{DataArgs, Pictures, pixels};

/// Flags of the verb.
#[derive(Args)]
pub struct Compare {
    /// The Lipschitz network (safetensors)
    #[arg(long)]
    model: PathBuf,
    /// Another network, smoothed only: its twin without bounds, trained with noise
    #[arg(long)]
    twin: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// l2 budgets
    #[arg(long, value_delimiter = ',', value_parser = budgets::one, default_values_t = [0.1, 0.17], allow_negative_numbers = true)]
    eps: Vec<f64>,
    /// Deviations of the noise to choose from; eps/sigma fixes tau
    #[arg(
        long,
        value_delimiter = ',',
        required = true,
        allow_negative_numbers = true
    )]
    sigma: Vec<f64>,
    /// Split on which sigma is chosen, for each method, eps and n; needed where there are several
    #[arg(long, value_name = "SPLIT")]
    choose: Option<String>,
    /// Use the first N images of that split only
    #[arg(long, requires = "choose", value_parser = clap::value_parser!(u32).range(1..))]
    choose_limit: Option<u32>,
    /// Samples that test, rising
    #[arg(long, value_delimiter = ',', default_values_t = [50, 100, 300, 1000])]
    n: Vec<usize>,
    /// Samples that choose the classes
    #[arg(long, default_value_t = CHOOSE)]
    n0: usize,
    /// Probability that a statement about an image is wrong
    #[arg(long, default_value_t = 0.001, allow_negative_numbers = true)]
    alpha: f64,
    /// Pixels that may be wrong of the count certificate, and are taken off; by default one in a thousand
    #[arg(long)]
    count: Option<u64>,
    /// f32, under which the hybrid holds, or grid, without it
    #[arg(long, default_value = "f32", value_enum)]
    noise: NoiseName,
    /// Of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for rows.jsonl
    #[arg(long)]
    out: Option<PathBuf>,
    /// What standard output gets: table or jsonl
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Where noise lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NoiseName {
    Grid,
    F32,
}

/// What is asked of each picture.
pub struct Asked {
    /// Budgets.
    pub eps: Vec<f64>,
    /// Rising.
    pub n: Vec<usize>,
    /// Samples that choose.
    pub n0: usize,
    /// Level.
    pub alpha: f64,
    /// B.
    pub count: u64,
    /// Of the noise.
    pub arithmetic: Arithmetic,
    /// Of the noise.
    pub seed: u64,
}

/// The settings as the head row tells them.
#[derive(Serialize)]
struct Settings<'a> {
    model: &'a Path,
    twin: Option<&'a Path>,
    data: Option<&'a Path>,
    layout: String,
    split: Option<&'a str>,
    choose: Option<&'a str>,
    data_hash: &'a str,
    images: usize,
    size: [usize; 2],
    eps: &'a [f64],
    sigma: &'a [f64],
    n: &'a [usize],
    n0: usize,
    alpha: f64,
    count: u64,
    noise: Arithmetic,
    seed: u64,
    threads: usize,
}

impl Compare {
    /// Compares.
    pub fn run(self) -> Result<ExitCode> {
        self.check()?;
        let pictures = self.pictures(&self.model)?;
        let [height, width] = pictures.size;
        let asked = Asked {
            eps: self.eps.clone(),
            n: self.n.clone(),
            n0: self.n0,
            alpha: self.alpha,
            count: self.count.unwrap_or((height * width / 1000) as u64),
            arithmetic: match self.noise {
                NoiseName::Grid => Arithmetic::Grid,
                NoiseName::F32 => Arithmetic::Float,
            },
            seed: self.seed,
        };
        pictures.check_numbers()?;
        if self.sigma.len() > 1
            && let Some(id) = self.choice(&self.model)?.shared(&pictures)
        {
            return Err(Usage::error(
                format!("sigma would be chosen on images of the table, such as {id}"),
                "give --split and --choose that share no image",
            ));
        }
        let settings = Settings {
            model: &self.model,
            twin: self.twin.as_deref(),
            data: self.data.data.as_deref(),
            layout: self.data.layout.to_string(),
            split: self.data.split.as_deref(),
            choose: self.choose.as_deref(),
            data_hash: &pictures.data_hash,
            images: pictures.len(),
            size: pictures.size,
            eps: &self.eps,
            sigma: &self.sigma,
            n: &self.n,
            n0: self.n0,
            alpha: self.alpha,
            count: asked.count,
            noise: asked.arithmetic,
            seed: self.seed,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let head = head(&settings).unit(Norm::L2, pixels(height, width));
        let head = head.verb("compare", None);
        let mut sides = vec![(Side::new("model", &pictures, true)?, &self.model)];
        if let Some(twin) = &self.twin {
            let other = self.pictures(twin)?;
            if other.size != pictures.size
                || other.model.network.classes() != pictures.model.network.classes()
            {
                let message = "the twin has pictures of another size, or other classes";
                return Err(Usage::error(
                    message,
                    "give --size, and a twin of the same classes",
                ));
            }
            sides.push((Side::new("twin", &other, false)?, twin));
        }
        let mut rows = Rows::open(self.format, self.out.as_deref(), &head)?;
        interrupt::listen()?;
        let mut all = Vec::new();
        for (side, path) in &sides {
            let Some(sums) = self.side(side, path, &asked, &mut rows)? else {
                say!("stopped; a comparison is made in one go, and its rows are dropped");
                return Ok(ExitCode::from(STOPPED));
            };
            all.extend(sums);
        }
        let equals = equals(&all);
        all.iter().try_for_each(|row| rows.push(row))?;
        equals.iter().try_for_each(|row| rows.push(row))?;
        if self.format == Format::Table {
            tables(&all, &equals)
                .iter()
                .try_for_each(|text| print_line(text))?;
        }
        if let Some(path) = rows.finish()? {
            say!("rows  {}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// An error before anything is read.
    fn check(&self) -> Result<()> {
        if self.format == Format::Csv {
            return Err(Usage::error(
                "compare has no CSV",
                "give --format table or jsonl",
            ));
        }
        let procedure = Procedure {
            tau: 0.5,
            alpha: self.alpha,
            correction: Default::default(),
            stage: Stage::Two,
        };
        procedure
            .check()
            .map_err(|error| Usage::error(error.to_string(), "alpha is inside (0, 1)"))?;
        if self.n.is_empty() || !self.n.is_sorted_by(|a, b| a < b) || self.n[0] < self.n0 {
            let hint = "give numbers of samples that rise, from --n0 on, as --n 50,100";
            return Err(Usage::error(
                format!("--n {:?} with --n0 {}", self.n, self.n0),
                hint,
            ));
        }
        if let Some(n) = self.n.last().filter(|n| **n > MAX_SAMPLES) {
            let hint = format!("give at most {MAX_SAMPLES}");
            return Err(Usage::error(format!("--n {n}"), hint));
        }
        if !(1..=255).contains(&self.n0) {
            return Err(Usage::error(format!("--n0 {}", self.n0), "give 1 to 255"));
        }
        for &sigma in &self.sigma {
            for &eps in &self.eps {
                let tau = Law::Gaussian { sigma }.check();
                let tau = tau.and_then(|law| law.threshold(eps, Promise::ClassOrAbstain));
                let hint = "sigma is above 0 and not much below eps, which is from 0";
                tau.map_err(|error| Usage::error(error.to_string(), hint))?;
            }
        }
        if self.sigma.len() > 1 && self.choose.is_none() {
            return Err(Usage::error(
                "several sigma, and no images to choose among them",
                "give --choose SPLIT, which is not that of the table, or one --sigma",
            ));
        }
        if self.sigma.len() == 1 && self.choose.is_some() {
            return Err(Usage::error(
                "--choose, and one sigma only",
                "leave --choose out, or give several --sigma",
            ));
        }
        for (name, values) in [("--eps", &self.eps), ("--sigma", &self.sigma)] {
            // its images would count twice
            if (1..values.len()).any(|i| values[..i].contains(&values[i])) {
                let message = format!("{name} names a number twice");
                return Err(Usage::error(message, "give each number once"));
            }
        }
        if self.choose.is_some() && self.choose == self.data.split {
            return Err(Usage::error(
                "sigma would be chosen on the images of the table",
                "give --choose another split than --split",
            ));
        }
        Ok(())
    }

    fn pictures(&self, model: &Path) -> Result<Pictures> {
        labelled(Pictures::open(model, &self.data, None)?)
    }

    /// The images on which sigma is chosen.
    fn choice(&self, model: &Path) -> Result<Pictures> {
        let data = DataArgs {
            split: self.choose.clone(),
            limit: self.choose_limit,
            ..self.data.clone()
        };
        labelled(Pictures::open(model, &data, None)?)
    }

    /// All rows of a network; none where Ctrl-C came.
    fn side(
        &self,
        side: &Side,
        path: &Path,
        asked: &Asked,
        rows: &mut Rows,
    ) -> Result<Option<Vec<Row>>> {
        let mut pictures = self.pictures(path)?;
        let first = pictures.next()?.context("there are no images")?;
        let noise = |sigma| Noise::new(Law::Gaussian { sigma }, asked.arithmetic);
        let [forward, noise] = side.alone(&first, &noise(self.sigma[0])?)?;
        let mut shared = Shared {
            n0: asked.n0,
            alpha: asked.alpha,
            count: asked.count,
            seed: asked.seed,
            tau: None,
            floating_point: match asked.arithmetic {
                Arithmetic::Grid => FloatingPoint::Covered,
                Arithmetic::Float => FloatingPoint::Modulo,
            },
            lipschitz: side
                .certifier
                .as_ref()
                .map(|certifier| certifier.lipschitz()),
            forward_seconds: forward,
            noise_seconds: noise,
            peak_memory: None,
        };
        let mut sums = Vec::new();
        // before anything is sampled, so that the memory of a first network is its own
        let mut next = Some(first);
        let mut bounds = Vec::new();
        while let Some(sample) = next.filter(|_| side.certifier.is_some()) {
            if interrupt::asked() {
                return Ok(None);
            }
            bounds.extend(side.bound(&sample, &asked.eps)?);
            next = pictures.next()?;
        }
        shared.peak_memory = peak_memory();
        bounds.iter().try_for_each(|row| rows.push(row))?;
        for &eps in asked.eps.iter().filter(|_| side.certifier.is_some()) {
            let case = Case {
                method: Method::Lipschitz,
                eps,
                n: None,
                sigma: None,
            };
            let of: Vec<_> = bounds.iter().filter(|row| row.case == case).collect();
            sums.extend(Row::of(case, &of, &shared));
        }
        let mut chosen: Vec<(Case, f64)> = Vec::new();
        let mut every = self.cases();
        let hybrid = side.certifier.is_some() && asked.arithmetic == Arithmetic::Float;
        every.retain(|case| hybrid || case.method != Method::Hybrid);
        if let [sigma] = self.sigma[..] {
            chosen = every.iter().map(|case| (*case, sigma)).collect();
        } else {
            let Some(tried) = self.draw(side, self.choice(path)?, &self.sigma, asked, "choose")?
            else {
                return Ok(None);
            };
            for case in &every {
                let value = |sigma: f64| {
                    let case = Case {
                        sigma: Some(sigma),
                        ..*case
                    };
                    let of = tried.iter().filter(|row| row.case == case);
                    image_mean(of.map(|row| row.crpa)).map_or(0.0, |(mean, _)| mean)
                };
                let mut best = (self.sigma[0], value(self.sigma[0]));
                for &sigma in &self.sigma[1..] {
                    if value(sigma) > best.1 {
                        best = (sigma, value(sigma));
                    }
                }
                chosen.push((*case, best.0));
            }
            for mut row in tried {
                row.kind = "compare-choice";
                rows.push(&row)?;
            }
        }
        let mut sigmas: Vec<f64> = chosen.iter().map(|(_, sigma)| *sigma).collect();
        sigmas.sort_unstable_by(f64::total_cmp);
        sigmas.dedup();

        let Some(mut drawn) = self.draw(side, self.pictures(path)?, &sigmas, asked, "compare")?
        else {
            return Ok(None);
        };
        let wanted = |row: &ImageRow| {
            let of = |(case, sigma): &(Case, f64)| {
                row.case
                    == Case {
                        sigma: Some(*sigma),
                        ..*case
                    }
            };
            chosen.iter().any(of)
        };
        drawn.retain(wanted);
        drawn.iter().try_for_each(|row| rows.push(row))?;
        shared.peak_memory = peak_memory();
        for (case, sigma) in chosen {
            let case = Case {
                sigma: Some(sigma),
                ..case
            };
            let law = Law::Gaussian { sigma };
            shared.tau = Some(law.threshold(case.eps, Promise::ClassOrAbstain)?);
            let of: Vec<_> = drawn.iter().filter(|row| row.case == case).collect();
            sums.extend(Row::of(case, &of, &shared));
        }
        Ok(Some(sums))
    }

    /// Every method, eps and n, without a sigma.
    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &eps in &self.eps {
            for method in Method::SAMPLED {
                let case = |n: &usize| Case {
                    method,
                    eps,
                    n: Some(*n),
                    sigma: None,
                };
                cases.extend(self.n.iter().map(case));
            }
        }
        cases
    }

    /// Samples of all pictures under noise of every sigma; none where Ctrl-C came.
    fn draw(
        &self,
        side: &Side,
        mut pictures: Pictures,
        sigmas: &[f64],
        asked: &Asked,
        what: &str,
    ) -> Result<Option<Vec<ImageRow>>> {
        let progress = Progress::new(what, pictures.len() * sigmas.len());
        let (mut rows, mut done) = (Vec::new(), 0);
        while let Some(sample) = pictures.next()? {
            for &sigma in sigmas {
                let drawn = side.sampled(&sample, sigma, asked);
                rows.extend(drawn.with_context(|| format!("image {}", sample.id))?);
                done += 1;
                progress.set(done, &format!("{}, sigma {sigma}", side.name));
                if interrupt::asked() {
                    progress.finish();
                    return Ok(None);
                }
            }
        }
        progress.finish();
        Ok(Some(rows))
    }
}

fn labelled(pictures: Pictures) -> Result<Pictures> {
    if pictures.labelled() {
        return Ok(pictures);
    }
    let hint = "give images with masks: certified accuracy is compared";
    Err(Usage::error("images without masks", hint))
}
