/**
 * Judges a reservation each time that it is told to, from the mount namespace that it runs in:
 * one JSON reservation on the command line, one line on stdin → one word on stdout.
 */
import { createInterface } from "node:readline";
import { GRACE_SECONDS, provablyDead, type Reservation } from "../../../src/ipam/local/index.ts";

const reservation = JSON.parse(process.argv[2] as string) as Reservation;
const later = { bootId: reservation.bootId, uptime: reservation.uptime + GRACE_SECONDS };
createInterface(process.stdin).on("line", () => console.log(provablyDead(reservation, later) ? "dead" : "unproven"));
