/** An address and a port. */
export interface SocketAddress {
  ip: string;
  port: number;
}

/** In words, as in a URL (RFC 3986, 3.2.2): "192.0.2.1:80", "[2001:db8::1]:80". */
export const socketAddress = ({ ip, port }: SocketAddress): string => `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
