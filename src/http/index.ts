/** HTTP over TCP and Unix sockets: who may ask, how many at a time, and sockets that are put back when somebody removes them. */
export { localAccess, metricsAccess } from "./access.ts";
export { type Access, json, type Listener, listenTcp, listenUnix, type Routes, text } from "./http.ts";
export { KeptSocket } from "./kept-socket.ts";
