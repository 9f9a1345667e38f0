// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

interface IBaseFeed {
    function latestAnswer() external view returns (int256);
    function decimals() external view returns (uint8);
}

interface IRatioProvider {
    function ratio() external view returns (uint256);
}

/// Prices a staked token as base price times a ratio that may not outgrow its cap.
///
/// Answers the getters that Aave's published price-cap adapters answer, so that code which
/// traces sources on mainnet traces this one.  Like them it has no `updatedAt` of its own:
/// its age is the age of the base feed.  The cap grows by the second with no event.
contract RatioAdapter {
    IBaseFeed public immutable BASE_TO_USD_AGGREGATOR;
    IRatioProvider public immutable RATIO_PROVIDER;
    uint8 public constant RATIO_DECIMALS = 18;
    uint8 public immutable DECIMALS;

    uint256 private immutable snapshotRatio;
    uint256 private immutable snapshotTimestamp;
    uint256 private immutable growthPerSecond;
    uint256 private immutable maxYearlyGrowthBps;
    string private name;

    constructor(
        address baseFeed,
        address ratioProvider,
        uint256 maxYearlyRatioGrowthBps,
        string memory description_
    ) {
        BASE_TO_USD_AGGREGATOR = IBaseFeed(baseFeed);
        RATIO_PROVIDER = IRatioProvider(ratioProvider);
        DECIMALS = IBaseFeed(baseFeed).decimals();
        uint256 current = IRatioProvider(ratioProvider).ratio();
        snapshotRatio = current;
        snapshotTimestamp = block.timestamp;
        maxYearlyGrowthBps = maxYearlyRatioGrowthBps;
        growthPerSecond = (current * maxYearlyRatioGrowthBps) / 10_000 / 365 days;
        name = description_;
    }

    function latestAnswer() external view returns (int256) {
        int256 base = BASE_TO_USD_AGGREGATOR.latestAnswer();
        uint256 current = RATIO_PROVIDER.ratio();
        if (base <= 0 || current == 0) return 0;
        uint256 cap = maxRatio();
        uint256 used = current < cap ? current : cap;
        return int256((uint256(base) * used) / 10 ** RATIO_DECIMALS);
    }

    function isCapped() external view returns (bool) {
        return RATIO_PROVIDER.ratio() > maxRatio();
    }

    function getRatio() external view returns (int256) {
        return int256(RATIO_PROVIDER.ratio());
    }

    function getSnapshotRatio() external view returns (uint256) {
        return snapshotRatio;
    }

    function getSnapshotTimestamp() external view returns (uint256) {
        return snapshotTimestamp;
    }

    function getMaxRatioGrowthPerSecond() external view returns (uint256) {
        return growthPerSecond;
    }

    function getMaxYearlyGrowthRatePercent() external view returns (uint256) {
        return maxYearlyGrowthBps;
    }

    function decimals() external view returns (uint8) {
        return DECIMALS;
    }

    function description() external view returns (string memory) {
        return name;
    }

    function maxRatio() private view returns (uint256) {
        return snapshotRatio + growthPerSecond * (block.timestamp - snapshotTimestamp);
    }
}
