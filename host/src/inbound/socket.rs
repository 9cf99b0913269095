//! Sockets that the host keeps open for plugins.
//!
//! The host owns the WebSocket: it is opened like any request, kept open, opened again after a wait, and closed when the
//! host stops. The plugin is handed its messages, one after the other, and needs no instance while nothing comes. After
//! each time that it was away, and wherever messages had to be dropped, the plugin is told of a gap, so that it can ask
//! for what it missed. A plugin that fails does not end the socket.

mod frames;
mod keep;
mod machine;
mod queue;

pub use keep::{Socket, SocketHandler, SocketState, SocketStatus};
