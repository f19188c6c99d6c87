//! Small data sets, written file by file.

use std::fs;
use std::path::{Path, PathBuf};

use certiseg_net::Error;
use certiseg_net::data::{
    Catalogue, Kind, Layout, Level, LoadSettings, Sample, Survey, catalogue, list, load, survey,
};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Luma, Rgb, RgbImage};

/// A folder that goes away.
pub struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of a file whose folder is there.
    pub fn at(&self, file: &str) -> PathBuf {
        let path = self.dir().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn text(&self, file: &str, text: &str) {
        fs::write(self.at(file), text).unwrap();
    }

    /// Saves pixels in a format, whatever the name says.
    pub fn save(&self, file: &str, pixels: impl Into<DynamicImage>, format: ImageFormat) {
        pixels
            .into()
            .save_with_format(self.at(file), format)
            .unwrap();
    }

    /// A picture of 6x8 whose pixels depend on its name, in the format that the name says.
    pub fn image(&self, file: &str) {
        let format = ImageFormat::from_path(file).unwrap();
        self.save(file, picture(file), format);
    }

    /// A grey PNG of 6x8 whose values go round.
    pub fn mask(&self, file: &str, values: &[u8]) {
        let value = |x, y| Luma([values[(x + 8 * y) as usize % values.len()]]);
        let mask = image::GrayImage::from_fn(8, 6, value);
        self.save(file, mask, ImageFormat::Png);
    }

    /// The same with 16 bits.
    pub fn deep_mask(&self, file: &str, values: &[u16]) {
        let value = |x, y| Luma([values[(x + 8 * y) as usize % values.len()]]);
        let mask = image::ImageBuffer::<Luma<u16>, _>::from_fn(8, 6, value);
        self.save(file, mask, ImageFormat::Png);
    }

    /// An RGB PNG of 6x8 whose colours go round.
    pub fn colours(&self, file: &str, colours: &[[u8; 3]]) {
        let colour = |x, y| Rgb(colours[(x + 8 * y) as usize % colours.len()]);
        self.save(file, RgbImage::from_fn(8, 6, colour), ImageFormat::Png);
    }

    /// A palette PNG of 6x8 whose indices go round, with colours far from them.
    pub fn palette(&self, file: &str, values: &[u8]) {
        let mut encoder = png::Encoder::new(fs::File::create(self.at(file)).unwrap(), 8, 6);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(
            (0..768)
                .map(|i| 255 - (i * 7 % 251) as u8)
                .collect::<Vec<u8>>(),
        );
        let all: Vec<u8> = values.iter().copied().cycle().take(48).collect();
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&all)
            .unwrap();
    }

    /// A JPEG of 6x8 with an EXIF orientation.
    pub fn oriented(&self, file: &str, orientation: u8) {
        let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        let mut encoder = JpegEncoder::new(fs::File::create(self.at(file)).unwrap());
        encoder.set_exif_metadata(exif).unwrap();
        encoder.encode_image(&picture(file)).unwrap();
    }

    /// Cuts a file to half of its length.
    pub fn tear(&self, file: &str) {
        let whole = fs::read(self.at(file)).unwrap();
        fs::write(self.at(file), &whole[..whole.len() / 2]).unwrap();
    }

    pub fn catalogue(&self, layout: Layout, split: Option<&str>) -> Catalogue {
        catalogue(self.dir(), layout, split).unwrap()
    }

    /// The survey of all, after checking that its verdict on every split is what a training meets.
    pub fn survey(&self, layout: Layout) -> Survey {
        let all = self.catalogue(layout, None);
        for split in &all.splits {
            self.agrees(layout, Some(&split.name));
        }
        survey(&all, &|_| {}, &|| false).unwrap()
    }

    /// Checks that a survey finds an error exactly where a training stops.
    fn agrees(&self, layout: Layout, split: Option<&str>) {
        let found = survey(&self.catalogue(layout, split), &|_| {}, &|| false).unwrap();
        let errors = found.count(Level::Error);
        match self.samples(layout, split) {
            Ok(_) => assert_eq!(errors, 0, "{:?}", found.findings),
            Err(error) => {
                let told = found.findings.iter().any(|f| f.words == error.to_string());
                assert!(told, "{error} is not among {:?}", found.findings);
            }
        }
    }

    /// What a training reads, at 6x8.
    pub fn samples(&self, layout: Layout, split: Option<&str>) -> Result<Vec<Sample>, Error> {
        let classes = layout.classes(self.dir())?.map_or(255, |c| c.count);
        let entries = list(self.dir(), layout, split)?;
        load(&entries, &LoadSettings::new(6, 8, classes), &|_, _| {})
    }

    /// The first classes of the mask of a picture.
    pub fn labels(&self, layout: Layout, split: Option<&str>, id: &str, many: usize) -> Vec<u8> {
        let samples = self.samples(layout, split).unwrap();
        let sample = samples.into_iter().find(|sample| sample.id == id).unwrap();
        sample.mask.unwrap()[..many].to_vec()
    }

    /// The message with which a training stops.
    pub fn stops(&self, layout: Layout, split: Option<&str>) -> String {
        self.agrees(layout, split);
        self.samples(layout, split).unwrap_err().to_string()
    }
}

/// 6x8 pixels that depend on a name.
fn picture(name: &str) -> RgbImage {
    let mut rng = certiseg_net::rng::Rng::new(certiseg_net::rng::Rng::hash(name.as_bytes()));
    RgbImage::from_fn(8, 6, |_, _| Rgb([0; 3].map(|_: u8| rng.below(256) as u8)))
}

/// The words of the findings of a kind.
pub fn words(survey: &Survey, kind: Kind) -> Vec<&str> {
    let of_kind = survey
        .findings
        .iter()
        .filter(|finding| finding.kind == kind);
    of_kind.map(|finding| finding.words.as_str()).collect()
}

/// The kinds found, each once.
pub fn kinds(survey: &Survey) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = survey.findings.iter().map(|finding| finding.kind).collect();
    kinds.dedup();
    kinds
}
