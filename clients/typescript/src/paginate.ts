/** Lists without page tokens: items one by one, pages fetched when they are needed. */

import type { CallOptions } from "@connectrpc/connect";

/** A method that answers in pages. */
export type PagedMethod<Req, Res> = (request: Req, options?: CallOptions) => Promise<Res>;

/** What the pages of an answer consist of: the type of its one repeated field. */
export type Item<Res> = {
  [K in keyof Res as K extends `$${string}` ? never : K]: Res[K] extends readonly (infer T)[] ? T : never;
} extends infer Lists
  ? Lists[keyof Lists]
  : never;

interface Paged {
  readonly nextPageToken: string;
}

/**
 * All items, e.g. `for await (const demand of paginate(rapport.routing.listDemands, { agent }))`.
 * `pageSize` of the request says how many are fetched at a time.
 */
export async function* paginate<Req extends { pageToken?: string }, Res extends Paged>(
  method: PagedMethod<Req, Res>,
  request: NoInfer<Req>,
  options?: CallOptions,
): AsyncGenerator<Item<Res>, void, undefined> {
  for await (const page of pages(method, request, options)) yield* items(page);
}

/** The same as whole answers. */
export async function* pages<Req extends { pageToken?: string }, Res extends Paged>(
  method: PagedMethod<Req, Res>,
  request: NoInfer<Req>,
  options?: CallOptions,
): AsyncGenerator<Res, void, undefined> {
  let pageToken = request.pageToken ?? "";
  do {
    const page = await method({ ...request, pageToken }, options);
    yield page;
    if (page.nextPageToken !== "" && page.nextPageToken === pageToken) {
      throw new TypeError("the server returned the page token that it was given: pages would never end");
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}

function items<Res extends Paged>(page: Res): Item<Res>[] {
  const lists = Object.entries(page).filter(([name, value]) => !name.startsWith("$") && Array.isArray(value));
  const [list] = lists;
  if (!list || lists.length > 1) {
    throw new TypeError("this answer has not exactly one list: use pages() and choose");
  }
  return list[1] as Item<Res>[];
}
