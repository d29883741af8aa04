/** Errors of the overlay that callers tell apart. */

/** A `skylane.dev/vtep` annotation that cannot be used; the message names the key and what is allowed. */
export class AnnotationError extends Error {
  /** Where in the annotation, such as `default.podCidrs[0]`. */
  readonly key: string;
  /** What is wrong with it. */
  readonly reason: string;

  constructor(key: string, reason: string, options?: ErrorOptions) {
    super(key === "" ? `the annotation ${reason}` : `${key} ${reason}`, options);
    this.name = "AnnotationError";
    this.key = key;
    this.reason = reason;
  }
}

/** The VXLAN device cannot be what it should be because of something on this host that is not Skylane's. */
export class DeviceConflict extends Error {
  /** The device in the way. */
  readonly device: string;

  constructor(device: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "DeviceConflict";
    this.device = device;
  }
}
