//! Embeddings of images by a trained encoder, as a file for other programs, and the nearest neighbours of some, as a picture.
//!
//!     cargo run --release --example embed -- --from runs/simclr --data folder:DIR --out photos.npy --neighbours photos.png
//!
//! A row of the file is an image: the encoder's pooled output, in eval mode, from the image as it is, normalised as in
//! training. `--help` lists the flags.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use wgrad::data::{DataSource, Listing};
use wgrad::eval::neighbours;
use wgrad::nn::ParamBuilder;
use wgrad::train::{self, Checkpoint, ContactRow, Embeddings};
use wgrad::{Error, Gpu, GpuBuilder, Rng};

#[derive(Debug, Clone, Parser)]
#[command(version)]
pub(crate) struct Flags {
    /// Directory of a run, or its checkpoint
    #[arg(long, value_name = "PATH")]
    pub(crate) from: PathBuf,
    /// embedded, synthetic, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR or folder:DIR[@SIZE], of images in DIR itself or in
    /// one subfolder a class; that of the run if left out
    #[arg(long, value_name = "SOURCE")]
    pub(crate) data: Option<DataSource>,
    /// Where to write them: .safetensors, .csv or .npy
    #[arg(long, value_name = "FILE", required_unless_present = "neighbours")]
    pub(crate) out: Option<PathBuf>,
    /// Scale each row to unit length
    #[arg(long)]
    pub(crate) normalize: bool,
    /// The projector's output in place of the encoder's
    #[arg(long)]
    pub(crate) head: bool,
    /// Draw images with their nearest neighbours by cosine beside them, as a .png
    #[arg(long, value_name = "FILE")]
    pub(crate) neighbours: Option<PathBuf>,
    /// Images that the picture has neighbours of, in turn from every class where classes are known
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) queries: usize,
    /// Neighbours of each
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) k: usize,
    /// Names the draw of the images
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u32,
    /// Number, PCI ids, PCI bus or part of the name of an adapter, as the program `adapters` prints them; the best if left out
    #[arg(long, value_name = "ADAPTER")]
    pub(crate) adapter: Option<String>,
}

fn main() -> ExitCode {
    train::main(|| embed(&train::parse(include_str!("embed.rs"))))
}

pub(crate) fn embed(flags: &Flags) -> wgrad::Result<()> {
    // What can be refused before the work is.
    flags.out.as_deref().map_or(Ok(()), Embeddings::check)?;
    flags.neighbours.as_deref().map_or(Ok(()), train::check_png)?;
    let from = Checkpoint::read(&flags.from)?;
    let build = ParamBuilder::new(Rng::new(0));
    let embedder = from.embedder(&build, flags.head)?.unit(flags.normalize);
    let source = flags.data.clone().map_or_else(|| from.source(), Ok)?;
    let Listing { mut images, names } = source.list()?;
    from.fit(&mut [&mut images])?;
    if flags.neighbours.is_some() && !(1..images.len()).contains(&flags.k) {
        return Err(Error::Argument(format!("--k {}: there are {} images", flags.k, images.len())));
    }

    let gpu = flags.adapter.iter().fold(Gpu::builder(), GpuBuilder::adapter).build()?;
    let params = build.finish(&gpu)?;
    from.load("", &params)?;

    let rows = embedder.rows(&params, &images)?; // [count, dims]
    let (count, dims) = (images.len(), embedder.width());
    let what = if flags.head { "projector" } else { "encoder" };
    println!(
        "{}: {count} images, {dims} numbers each, {what} output of {}",
        images.name,
        flags.from.display()
    );

    if let Some(out) = &flags.out {
        let values = rows.to_vec()?;
        let labels = (&images.labels[..], &images.class_names[..]);
        Embeddings { values: &values, dims, names: &names, labels: labels.0, class_names: labels.1 }
            .write(out)?;
        println!("written to {}", out.display());
    }
    if let Some(picture) = &flags.neighbours {
        let classes = images.drawn_by_class(flags.seed);
        let in_turn = (0..count).flat_map(|place| classes.iter().filter_map(move |class| class.get(place)));
        let queries: Vec<u32> = in_turn.copied().take(flags.queries).collect();
        let near = neighbours(&rows, &queries, flags.k)?;
        let sheet = queries.iter().zip(&near).map(|(&query, near)| {
            let neighbours = near.iter().map(|neighbour| neighbour.index).collect();
            ContactRow { query, neighbours }
        });
        let sheet: Vec<ContactRow> = sheet.collect();
        train::contact_sheet(picture, &images, &sheet)?;
        println!("{}: {} images, each with its {} nearest", picture.display(), queries.len(), flags.k);
        if images.classes() > 0 {
            let same = |row: &ContactRow| {
                let class = |image: u32| images.labels[image as usize];
                row.neighbours.iter().filter(|&&near| class(near) == class(row.query)).count()
            };
            let (same, all) = (sheet.iter().map(same).sum::<usize>(), queries.len() * flags.k);
            println!(
                "{same} of {all} neighbours are of the image's class; the border of the others is dashed"
            );
        }
    }
    Ok(())
}
