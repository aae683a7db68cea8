//! The shim of process attempts as a program of its own, for applications whose `main` cannot enter it.

fn main() {
    dogwatch_actors::runtime::process::Shim::enter();
    eprintln!("dogwatch-shim is started by dogwatch, not by hand");
}
