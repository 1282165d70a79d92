// packages/client/src/socket.ts
// The WebSocket as it is used here, and how it is opened (W8: the token in the subprotocol).

/** The part of a WebSocket that is used; the platform's own unless another is given. */
export interface SocketLike {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(
    type: "close",
    listener: (event: { code: number; reason: string }) => void,
  ): void;
  addEventListener(type: "error", listener: () => void): void;
}

export type Connect = (url: string, protocols: string[]) => SocketLike;

/** As phoenix.js 1.8 does with its option `authToken`. */
export function openSocket(options: {
  readonly url: string;
  readonly token: string;
  readonly connect: Connect | undefined;
}): SocketLike {
  const url = `${options.url}/websocket?vsn=2.0.0`;
  const protocols = ["phoenix", `base64url.bearer.phx.${base64url(options.token)}`];
  return options.connect ? options.connect(url, protocols) : new WebSocket(url, protocols);
}

function base64url(text: string): string {
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
