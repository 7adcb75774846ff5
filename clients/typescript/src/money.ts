/** Amounts without rounding: `google.type.Money` counts whole units in a bigint and billionths beside it. */

import { create } from "@bufbuild/protobuf";

import { type Money, MoneySchema } from "./gen/google/type/money_pb.js";

const DECIMAL = /^(-?)(\d{1,18})(?:\.(\d{1,9}))?$/;

/** `money("CNY", "1299.90")`. A string, because 0.1 + 0.2 is not 0.3. */
export function money(currencyCode: string, amount: string): Money {
  const parts = DECIMAL.exec(amount);
  if (!parts) throw new TypeError(`an amount is a decimal with at most nine places, e.g. 12.50, not ${JSON.stringify(amount)}`);
  const [, sign, whole = "0", fraction = ""] = parts;
  const factor = sign ? -1 : 1;
  // `0 * -1` is -0, which is not the 0 that messages are compared by.
  const nanos = Number(fraction.padEnd(9, "0")) * factor || 0;
  return create(MoneySchema, { currencyCode, units: BigInt(whole) * BigInt(factor), nanos });
}

/** The amount as `money` takes it, without superfluous zeros. */
export function amountOf({ units, nanos }: Pick<Money, "units" | "nanos">): string {
  const sign = units < 0n || nanos < 0 ? "-" : "";
  const whole = units < 0n ? -units : units;
  const fraction = Math.abs(nanos).toString().padStart(9, "0").replace(/0+$/, "");
  return `${sign}${whole}${fraction && `.${fraction}`}`;
}
