//! `postern top`: what passes now, as a picture. [`Picture`] is what is known, [`draw()`] puts it on a screen; both know no
//! terminal and no daemon.

mod draw;
mod pace;
mod picture;

pub(crate) use draw::draw;
pub(crate) use picture::Picture;

#[cfg(test)]
mod tests;
